package console

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"riposte/event"
	"riposte/respond"
)

// get asks s as somebody who was let in, unless change says otherwise.
func get(s http.Handler, path string, change ...func(*http.Request)) *httptest.ResponseRecorder {
	r := httptest.NewRequest("GET", path, nil)
	r.Host = "127.0.0.1:8180"
	r.AddCookie(&http.Cookie{Name: "riposte-8180", Value: cookieValue(token)})
	for _, c := range change {
		c(r)
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

func stranger(r *http.Request) { r.Header.Del("Cookie") }

func header(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

func TestWhoIsLetIn(t *testing.T) {
	s, err := New(Config{Reader: newFake(), Token: token, Hosts: []string{"riposte.example.com"}})
	if err != nil {
		t.Fatal(err)
	}
	bearer := func(v string) func(*http.Request) {
		return func(r *http.Request) { stranger(r); r.Header.Set("Authorization", v) }
	}
	host := func(h string) func(*http.Request) { return func(r *http.Request) { r.Host = h } }
	for name, c := range map[string]struct {
		path   string
		change func(*http.Request)
		want   int
	}{
		"the cookie":                {"/", func(*http.Request) {}, 200},
		"nobody":                    {"/", stranger, 401},
		"nobody, an incident":       {incidentPath(id("takeover")), stranger, 401},
		"nobody, a stream":          {"/live", stranger, 401},
		"nobody, the API":           {"/api/incidents", stranger, 401},
		"nobody, no such page":      {"/nothing", stranger, 401},
		"nobody, the style":         {"/assets/console.css", stranger, 200},
		"nobody, the probe":         {"/healthz", stranger, 200},
		"the probe by any name":     {"/healthz", host("10.0.0.7:8180"), 200},
		"another cookie":            {"/", func(r *http.Request) { stranger(r); r.AddCookie(&http.Cookie{Name: "riposte-8180", Value: token}) }, 401},
		"the bearer":                {"/api/health", bearer("Bearer " + token), 200},
		"another bearer":            {"/api/health", bearer("Bearer x"), 401},
		"the bearer outweighs":      {"/api/health", header("Authorization", "Bearer x"), 401},
		"the wrong token":           {"/?token=x", stranger, 401},
		"a rebound name":            {"/", host("evil.example:8180"), 421},
		"a name that begins alike":  {"/", host("localhost.evil.example"), 421},
		"no name":                   {"/", host(""), 421},
		"localhost":                 {"/", func(r *http.Request) { bearer("Bearer " + token)(r); r.Host = "localhost" }, 200},
		"loopback in IPv6":          {"/", func(r *http.Request) { bearer("Bearer " + token)(r); r.Host = "[::1]:8180" }, 200},
		"a configured name":         {"/", func(r *http.Request) { bearer("Bearer " + token)(r); r.Host = "Riposte.example.com" }, 200},
		"a script of another site":  {"/api/incidents", header("Sec-Fetch-Site", "cross-site"), 403},
		"a script of a sister site": {"/api/incidents", header("Sec-Fetch-Site", "same-site"), 403},
		"a link from another site": {"/", func(r *http.Request) {
			header("Sec-Fetch-Site", "cross-site")(r)
			header("Sec-Fetch-Mode", "navigate")(r)
		}, 200},
		"a form":                   {"/", func(r *http.Request) { r.Method = "POST" }, 405},
		"a form of another site":   {"/", func(r *http.Request) { r.Method = "POST"; r.Header.Set("Origin", "https://evil.example") }, 403},
		"only the head":            {"/rules", func(r *http.Request) { r.Method = "HEAD" }, 200},
		"no such page":             {"/nothing", func(*http.Request) {}, 404},
		"no such incident":         {"/incidents/nothing", func(*http.Request) {}, 404},
		"no such incident, stream": {"/incidents/nothing/live", func(*http.Request) {}, 404},
		"no such incident, API":    {"/api/incidents/nothing", func(*http.Request) {}, 404},
		"no such finding":          {incidentPath(id("takeover")) + "/findings/x/records", func(*http.Request) {}, 404},
		"no way out of the assets": {"/assets/../console.go", func(*http.Request) {}, 404},
		"no listing of the assets": {"/assets/", func(*http.Request) {}, 404},
		"no templates as assets":   {"/assets/%2e%2e/templates/layout.html", func(*http.Request) {}, 404},
	} {
		t.Run(name, func(t *testing.T) {
			w := get(s, c.path, c.change)
			if w.Code != c.want && !(c.want == 404 && w.Code == 307) {
				t.Errorf("%d, want %d: %s", w.Code, c.want, w.Body)
			}
			if w.Code != 200 && strings.Contains(w.Body.String(), "m.rossi") {
				t.Error("it tells what it should not")
			}
			if w.Code == 401 && strings.HasPrefix(c.path, "/?") && strings.Contains(w.Body.String(), token) {
				t.Error("it tells the token")
			}
		})
	}
}

func TestNewWantsAToken(t *testing.T) {
	_, err := New(Config{})
	if err == nil || !strings.Contains(err.Error(), "no reader") || !strings.Contains(err.Error(), "no token") {
		t.Errorf("error %v, want both problems", err)
	}
}

func TestEntering(t *testing.T) {
	s := newServer(t, newFake())
	for path, want := range map[string]string{
		"/?token=" + token:                               "/",
		"/rules?sort=id&token=" + token:                  "/rules?sort=id",
		incidentPath(id("takeover")) + "?token=" + token: incidentPath(id("takeover")),
		"//evil.example/?token=" + token:                 "/evil.example/",
		`/\evil.example/?token=` + token:                 "/evil.example/",
	} {
		w := get(s, "/", stranger, func(r *http.Request) {
			u, err := url.Parse("http://127.0.0.1:8180" + path)
			if err != nil {
				t.Fatal(err)
			}
			r.URL = &url.URL{Path: u.Path, RawQuery: u.RawQuery}
		})
		if w.Code != http.StatusSeeOther || w.Header().Get("Location") != want {
			t.Errorf("%s: %d to %q, want %q", path, w.Code, w.Header().Get("Location"), want)
		}
		c := w.Result().Cookies()
		if len(c) != 1 || !c[0].HttpOnly || c[0].SameSite != http.SameSiteStrictMode || c[0].Path != "/" || strings.Contains(c[0].Value, token) {
			t.Errorf("%s: cookies %v", path, c)
		}
		if again := get(s, "/", stranger, func(r *http.Request) { r.AddCookie(c[0]) }); again.Code != 200 {
			t.Errorf("the cookie opens nothing: %d", again.Code)
		}
	}
}

func TestHeaders(t *testing.T) {
	s := newServer(t, newFake())
	for _, path := range []string{"/", "/rules", "/nothing", "/api/incidents", "/assets/console.js"} {
		h := get(s, path).Header()
		if csp := h.Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none'; script-src 'self'; style-src 'self';") || strings.Contains(csp, "unsafe") {
			t.Errorf("%s: policy %q", path, csp)
		}
		for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cross-Origin-Opener-Policy": "same-origin"} {
			if h.Get(name) != want {
				t.Errorf("%s: %s is %q, want %q", path, name, h.Get(name), want)
			}
		}
	}
	if cache := get(s, "/").Header().Get("Cache-Control"); cache != "no-store" {
		t.Errorf("Cache-Control is %q", cache)
	}
}

// TestHostileText looks for anything of an event that is more than text.
func TestHostileText(t *testing.T) {
	f := newFake()
	in, runs := hostile()
	f.incidents, f.runs[in.ID] = append(f.incidents, in), runs
	f.rules = append(f.rules, Rule{ID: `"><script>`, Title: "<script>" + bidi, Description: "<img src=x onerror=a>", When: "</pre><script>", LastError: "<script>\x1b[2J", Errors: 1})
	f.state.Letters = append(f.state.Letters, Letter{Seq: 9, Place: "<script>" + bidi, Reason: `"><img src=x onerror=a>`, Kind: "<b>"})
	f.state.RulesError = "<script>alert(1)</script>"
	s := newServer(t, f)
	for _, path := range []string{"/", incidentPath(in.ID), incidentPath(in.ID) + "/findings/" + in.Findings[0].ID + "/records", "/rules", "/health", "/coverage?all=1", `/coverage?q="><script>&state="><script>`, `/?q="><script>alert(1)</script>&severity="><script>`, "/rules?q=<script>&sort=<script>"} {
		r := strings.ReplaceAll(path, " ", "%20")
		body := get(s, "/", func(q *http.Request) {
			u, err := url.Parse(r)
			if err != nil {
				t.Fatal(err)
			}
			q.URL = u
		}).Body.String()
		if len(body) < 500 {
			t.Errorf("%s: %s", path, body)
		}
		for _, bad := range []string{"<script>", "<img", "<b>x", "\u202e", "\u2066", "\r", "\x1b", "\x00", `href="javascript:`, `" onerror`, `hx-get="/owned`} {
			if strings.Contains(body, bad) {
				t.Errorf("%s contains %q", path, bad)
			}
		}
	}
	api := get(s, "/api/incidents/"+in.ID).Body.Bytes()
	if strings.ContainsAny(string(api), "\u202e\u2066\r\x1b<>") {
		t.Error("the API gives direction marks or controls as they are")
	}
	var got struct{ Incident respond.Incident }
	if err := json.Unmarshal(api, &got); err != nil || got.Incident.Title != in.Title {
		t.Errorf("the API changes what it gives: %v\n%q", err, got.Incident.Title)
	}
}

func TestPages(t *testing.T) {
	s := newServer(t, newFake())
	takeover, bucket := incidentPath(id("takeover")), incidentPath(id("bucket"))
	for path, c := range map[string]struct{ has, hasNot string }{
		"/":                                 {"m.rossi stopped the trail|IAM user|314159265358|eu-west-1|3 findings|1 plan|5 min ago|closed", "an early finding"},
		"/?severity=critical":               {"m.rossi stopped the trail|1 of 4 incidents", "shop-invoices"},
		"/?severity=critical&severity=high": {"m.rossi stopped the trail|shop-invoices", "1 204 ports"},
		"/?q=GITHUBACTIONS":                 {"shop-invoices", "m.rossi stopped"},
		"/?q=example/shop+invoices":         {"shop-invoices", "m.rossi stopped"},
		"/?q=nobody":                        {"No incident matches", "m.rossi stopped"},
		takeover:                            {"without MFA|203.0.113.77|would contain|already contained|refuses|skipped|would send|dry run|iam:PutUserPolicy|no deny policy of ours|taken back when a person agrees|AccessDenied|What it was like before the event|1772442845123|ATT&amp;CK T1562.008|Why the rule fired|not evaluated|1 raw event", "CloudTrailRecordBody"},
		bucket:                              {"web identity|repo:example/shop|through|do nothing|No playbook matches", "would contain"},
		"/rules":                            {"no such key|1 rule had errors|88\u202f213|T1562.008", ""},
		"/rules?errors=1":                   {"Bucket made public|Show all rules", "Root user signed in"},
		"/rules?q=T1046":                    {"Many refused ports", "Root user signed in"},
		"/health":                           {"riposte dead-letters replay 7|412.0 MiB of 2.0 GiB, 20%|3.4 ms|41.0 ms|undeclared reference|redelivered|things need a look", ""},
		"/coverage":                         {"2 parts of the telemetry are missing or silent|still speaking|2.3 % lost|vpc-0a1b2c3d4e5f60718|3 from the future|never|AWS 4 min", "as its whole"},
		"/coverage?all=1":                   {"as its whole|accounts only|all accounts", ""},
		"/coverage?state=late":              {"29 h|1 of 9 parts", "still speaking"},
		"/coverage?q=271828182845+config":   {"29 h", "314159265358"},
		"/coverage?q=nobody":                {"Nothing matches", "314159265358"},
		takeover + "/findings/" + id("t3") + "/records": {"requestParameters|trail.json.gz", ""},
	} {
		body := get(s, path).Body.String()
		for _, want := range strings.Split(c.has, "|") {
			if !strings.Contains(body, want) {
				t.Errorf("%s does not say %q", path, want)
			}
		}
		if c.hasNot != "" && strings.Contains(body, c.hasNot) {
			t.Errorf("%s says %q", path, c.hasNot)
		}
	}
	w := get(s, incidentPath(id("merged")))
	if w.Code != http.StatusSeeOther || w.Header().Get("Location") != takeover {
		t.Errorf("a merged incident: %d %q", w.Code, w.Header().Get("Location"))
	}
	if body := get(newServer(t, &fake{}), "/").Body.String(); !strings.Contains(body, "riposte run ./incoming") {
		t.Errorf("the empty page does not say what to do: %s", body)
	}
	if w := get(newServer(t, &fake{err: errors.New("store: no answer")}), "/"); w.Code != 503 || !strings.Contains(w.Body.String(), "no answer") {
		t.Errorf("a broken reader: %d %s", w.Code, w.Body)
	}
}

// TestHugeIncident shows one with as many findings as are kept, of the largest records.
func TestHugeIncident(t *testing.T) {
	var all []event.Finding
	for i := range respond.MaxFindings {
		f := finding(fmt.Sprint("huge", i), "a.b", strings.Repeat("long ", 2000), event.Low, time.Duration(i)*time.Second)
		f.Actor.UserAgent = strings.Repeat("x", 16<<10)
		f.Evidence.Records[0].Raw = raw(strings.Repeat("y", 64<<10))
		all = append(all, f)
	}
	f := &fake{incidents: []respond.Incident{incident("huge", all[0].Actor, "", all...)}}
	f.incidents[0].More = 100_000
	s := newServer(t, f)
	page := get(s, incidentPath(id("huge"))).Body
	if n := page.Len(); n > 3<<20 || !strings.Contains(page.String(), "100\u202f000 more findings") {
		t.Errorf("the page has %d bytes", n)
	}
	fragment := get(s, incidentPath(id("huge"))+"/findings/"+all[7].ID+"/records", header("HX-Request", "true")).Body
	if n := fragment.Len(); n < 64<<10 || strings.Contains(fragment.String(), "<html") {
		t.Errorf("the records have %d bytes", n)
	}
}

func TestRuleOrder(t *testing.T) {
	for sort, want := range map[string]string{
		"":         "exfiltration.bucket-made-public",
		"hits":     "exfiltration.bucket-made-public",
		"errors":   "exfiltration.bucket-made-public",
		"severity": "evasion.trail-stopped",
		"id":       "evasion.trail-stopped",
		"nonsense": "exfiltration.bucket-made-public",
	} {
		if got := listRules(fakeRules(), url.Values{"sort": {sort}}).Rules[0].ID; got != want {
			t.Errorf("sorted by %q the first is %s, want %s", sort, got, want)
		}
	}
}

func TestAPI(t *testing.T) {
	s := newServer(t, newFake())
	var list struct{ Incidents []respond.Summary }
	decode(t, get(s, "/api/incidents?severity=critical"), &list)
	if len(list.Incidents) != 1 || list.Incidents[0].ID != id("takeover") {
		t.Errorf("incidents %v", list.Incidents)
	}
	var one struct {
		Incident respond.Incident
		Runs     []respond.Run
	}
	decode(t, get(s, "/api/incidents/"+id("takeover")), &one)
	if len(one.Incident.Findings) != 3 || len(one.Runs) != 1 || one.Runs[0].Steps[1].Plan.Calls[0].Operation != "PutUserPolicy" {
		t.Errorf("incident %+v", one)
	}
	var rules struct{ Rules []Rule }
	decode(t, get(s, "/api/rules?sort=id"), &rules)
	if len(rules.Rules) != 5 || rules.Rules[1].Errors != 17 {
		t.Errorf("rules %v", rules)
	}
	var c struct{ Coverage []Telemetry }
	decode(t, get(s, "/api/coverage"), &c)
	if len(c.Coverage) != 9 || c.Coverage[0].State != "missing" || c.Coverage[1].Speaking[1] != "flow" {
		t.Errorf("coverage %+v", c.Coverage)
	}
	decode(t, get(s, "/api/coverage?state=losing"), &c)
	if len(c.Coverage) != 1 || c.Coverage[0].Lost != 2100 {
		t.Errorf("coverage that loses %+v", c.Coverage)
	}
	var h Health
	decode(t, get(s, "/api/health"), &h)
	if h.DeadLetters != 2 || h.Streams[0].Consumers[0].Pending != 120 {
		t.Errorf("health %+v", h)
	}
	var refused struct{ Error string }
	if decode(t, get(s, "/api/nothing"), &refused); refused.Error == "" {
		t.Error("no reason")
	}
}

func decode(t *testing.T, w *httptest.ResponseRecorder, v any) {
	t.Helper()
	if ct := w.Header().Get("Content-Type"); ct != "application/json" {
		t.Errorf("Content-Type %q", ct)
	}
	if err := json.Unmarshal(w.Body.Bytes(), v); err != nil {
		t.Fatalf("%v in %s", err, w.Body)
	}
}

func TestPlain(t *testing.T) {
	for in, want := range map[string]string{
		"":                         "",
		"a\n\tb é 你 🙂":             "a\n\tb é 你 🙂",
		"\u202egpj.exe":            `\u202egpj.exe`,
		"a\r\nb":                   `a\u000d` + "\nb",
		"\x1b[31m\x00\x7f":         `\u001b[31m\u0000\u007f`,
		"\u0085\u2028\u200b\ufeff": `\u0085\u2028\u200b\ufeff`,
		"\U000e0041":               `\udb40\udc41`,
		"bad \xff\xfe":             `bad \ufffd\ufffd`,
	} {
		if got := string(plain([]byte(in))); got != want {
			t.Errorf("plain(%q) = %q, want %q", in, got, want)
		}
	}
}
