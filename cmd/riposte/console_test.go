package main

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"riposte/internal/awsfake"
	"riposte/internal/browsertest"
	"riposte/samples"
)

// TestConsoleOfTheRealDaemon starts the real process over an empty folder, opens
// its console in a real browser, puts a recorded attack into the folder, and
// sees the incident arrive, opens it and reads why the rule fired and what the
// plan would do.
func TestConsoleOfTheRealDaemon(t *testing.T) {
	browser := browsertest.New(t)
	complaints := browsertest.Listen(t, browser)
	incoming := t.TempDir()
	url := startConsole(t, incoming)

	do := func(steps ...chromedp.Action[chromedp.Void]) {
		t.Helper()
		if err := chromedp.Do(browser, steps...); err != nil {
			t.Fatal(err)
		}
	}
	text := func(selector string) string {
		t.Helper()
		s, err := chromedp.Run(browser, chromedp.Evaluate[string](`document.querySelector(`+"`"+selector+"`"+`).innerText`))
		if err != nil {
			t.Fatalf("%s: %v", selector, err)
		}
		return s
	}
	do(chromedp.Navigate(url), chromedp.WaitVisible(chromedp.CSS(`#link[data-state=live]`)), chromedp.WaitVisible(chromedp.CSS(`.empty`)))

	attack, err := samples.FS.ReadFile("cloudtrail/demo.ndjson")
	if err != nil {
		t.Fatal(err)
	}
	// Written aside and moved, as a collector would.
	aside := filepath.Join(t.TempDir(), "attack.ndjson")
	if err := os.WriteFile(aside, attack, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(aside, filepath.Join(incoming, "attack.ndjson")); err != nil {
		t.Fatal(err)
	}
	do(chromedp.WaitVisible(chromedp.CSS(`.row.edge-critical .plans`))) // without a reload
	if row := text(`.row.edge-critical`); !strings.Contains(row, "m.rossi") || !strings.Contains(row, "314159265358") {
		t.Errorf("the row says %q", row)
	}

	do(chromedp.Click(chromedp.CSS(`.row.edge-critical h2 a`)), chromedp.WaitVisible(chromedp.CSS(`#plans .run`)),
		chromedp.Evaluate[chromedp.Void](`document.querySelectorAll("details").forEach(d => d.open = true)`))
	do(chromedp.Poll[chromedp.Void](`document.querySelector("#plans").innerText.includes("cloudtrail:StartLogging") && document.querySelector("#plans").innerText.includes("ec2:AuthorizeSecurityGroupIngress")`))
	plans := text(`#plans`)
	for _, want := range []string{"iam:UpdateAccessKey", `"Status": "Inactive"`, "sgr-0opened0000000001", "s3:PutPublicAccessBlock", "s3:DeletePublicAccessBlock", "AKIAEXAMPLE7Q4Z2LK"} {
		if !strings.Contains(plans, want) {
			t.Errorf("the plans do not say %s", want)
		}
	}
	page := text(`body`)
	for _, want := range []string{"DRY RUN", "evasion.trail-stopped", `eventName == "StopLogging"`, "203.0.113.77"} {
		if !strings.Contains(strings.ToUpper(page), strings.ToUpper(want)) {
			t.Errorf("the incident's page does not say %s", want)
		}
	}
	do(chromedp.Navigate(origin(url)+"/rules?q=evasion.trail-stopped"), chromedp.WaitVisible(chromedp.CSS(`main`)))
	if rules := text(`main`); !strings.Contains(rules, "evasion.trail-stopped") {
		t.Errorf("the rules page says %.300q", rules)
	}
	do(chromedp.Navigate(origin(url)+"/health"), chromedp.Poll[chromedp.Void](`document.querySelector("main").innerText.includes("EVENTS")`))
	for _, c := range complaints.Take() {
		t.Errorf("the browser complains: %s", c)
	}

	res, err := http.Get(origin(url) + "/api/incidents")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusUnauthorized {
		t.Errorf("without the token the API answers %s", res.Status)
	}
}

func origin(url string) string { return url[:strings.Index(url, "/?")] }

// startConsole runs the real daemon over a folder, with the demo's AWS behind
// it, and returns the address that it prints.
func startConsole(t *testing.T, incoming string) string {
	t.Helper()
	var world awsfake.World
	if err := json.Unmarshal(samples.World, &world); err != nil {
		t.Fatal(err)
	}
	fake := awsfake.New(&world, "314159265358")
	t.Cleanup(fake.Close)
	dir := t.TempDir()
	config := filepath.Join(dir, "riposte.yaml")
	yaml := "data_dir: " + filepath.Join(dir, "data") + "\nconsole: {listen: 127.0.0.1:0}\nsources:\n  - files: {paths: [" + incoming + "], follow: true, poll: 200ms}\n"
	if err := os.WriteFile(config, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	p := startWith(t, []string{"AWS_REGION=eu-west-1", "AWS_ENDPOINT_URL=" + fake.URL()}, "run", "--config", config)
	t.Cleanup(func() {
		if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
			t.Error(err)
		}
		p.end() // and it must end well
	})
	_, url, _ := strings.Cut(p.until("console: http://127.0.0.1:", "/?token="), "console: ")
	return url
}
