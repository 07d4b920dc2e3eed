package console

import (
	"context"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"riposte/event"
	"riposte/internal/browsertest"
)

// open starts a console with the hostile incident among the others, and a
// browser that has been let in.
func open(t *testing.T) (*fake, string, context.Context, *browsertest.Complaints) {
	f := newFake()
	in, runs := hostile()
	f.incidents, f.runs[in.ID] = append(f.incidents, in), runs
	s := newServer(t, f)
	web := httptest.NewServer(s)
	web.Config.RegisterOnShutdown(s.Close)
	t.Cleanup(func() { s.Close(); web.Close() })
	ctx := browsertest.New(t)
	said := browsertest.Listen(t, ctx)
	do(t, ctx, chromedp.Navigate(web.URL+"/?token="+token), live())
	return f, web.URL, ctx, said
}

// live waits until the page is.
func live() chromedp.Action[chromedp.Void] {
	return chromedp.WaitVisible(chromedp.CSS(`#link[data-state=live]`))
}

// unfold opens all that can be opened, and waits for what is fetched then.
func unfold() chromedp.Action[chromedp.Void] {
	return chromedp.Steps(
		chromedp.Evaluate[chromedp.Void](`document.querySelectorAll("details:not([open]) > summary").forEach(s => s.click())`),
		chromedp.Poll[chromedp.Void](`document.querySelectorAll("details[hx-get]").length === document.querySelectorAll(".records pre").length`))
}

func scheme(name string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}}})
		return err
	})
}

// must runs an action for its value.
func must[T any](t *testing.T, ctx context.Context, a chromedp.Action[T]) T {
	t.Helper()
	v, err := chromedp.Run(ctx, a)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func do(t *testing.T, ctx context.Context, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	if err := chromedp.Do(ctx, steps...); err != nil {
		t.Fatal(err)
	}
}

// TestPagesInABrowser opens every page in both schemes and at two widths. With
// RIPOSTE_SHOTS it leaves pictures in that folder.
func TestPagesInABrowser(t *testing.T) {
	_, base, ctx, said := open(t)
	pages := map[string]string{
		"incidents": "/", "filtered": "/?q=nobody", "incident": incidentPath(id("takeover")), "noplan": incidentPath(id("bucket")),
		"hostile": incidentPath(id("hostile")), "rules": "/rules", "health": "/health",
		"coverage": "/coverage", "coverage-all": "/coverage?all=1",
	}
	for _, view := range []struct {
		name, scheme  string
		width, height int64
	}{{"light", "light", 1280, 900}, {"dark", "dark", 1280, 900}, {"phone", "light", 360, 740}, {"phone-dark", "dark", 360, 740}} {
		for name, path := range pages {
			t.Run(view.name+"/"+name, func(t *testing.T) {
				do(t, ctx, scheme(view.scheme), chromedp.EmulateViewport(view.width, view.height), chromedp.Navigate(base+path), live())
				picture(t, ctx, name+"-"+view.name)
				do(t, ctx, unfold())
				picture(t, ctx, name+"-"+view.name+"-open")
				if wide := must(t, ctx, chromedp.Evaluate[string](overflow)); wide != "" {
					t.Errorf("wider than the screen: %s", wide)
				}
				if title := must(t, ctx, chromedp.Title()); title == "owned" {
					t.Error("hostile text was executed")
				}
				for _, s := range said.Take() {
					t.Error(s)
				}
			})
		}
	}
}

// picture leaves a picture of the page where RIPOSTE_SHOTS says.
func picture(t *testing.T, ctx context.Context, name string) {
	dir := os.Getenv("RIPOSTE_SHOTS")
	if dir == "" {
		return
	}
	for suffix, take := range map[string]chromedp.Action[[]byte]{"": chromedp.CaptureScreenshot(), "-whole": chromedp.FullScreenshot(100)} {
		if err := os.WriteFile(filepath.Join(dir, name+suffix+".png"), must(t, ctx, take), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// overflow names the first element that makes the page scroll sideways.
const overflow = `(() => {
  const root = document.documentElement;
  if (root.scrollWidth <= root.clientWidth) return "";
  for (const e of document.querySelectorAll("body *"))
    if (e.getBoundingClientRect().right > root.clientWidth + 1) return e.tagName + "." + e.className + " " + e.id + " of " + root.scrollWidth;
  return "by " + root.scrollWidth;
})()`

func TestIncidentsArriveInABrowser(t *testing.T) {
	f, base, ctx, said := open(t)
	news := incident("news", rossi, "eu-west-1", finding("n1", "impact.bucket-emptied", "m.rossi emptied the bucket ledger", event.Critical, 8*time.Minute))
	row := "#in-" + news.ID
	do(t, ctx, chromedp.Evaluate[chromedp.Void](`window.here = true`))
	f.put(news)
	do(t, ctx, chromedp.WaitVisible(chromedp.CSS(row+".fresh-b")))
	if got := "#" + must(t, ctx, chromedp.Evaluate[string](`document.querySelector(".rows > li").id`)); got != row {
		t.Errorf("the first row is %s", got)
	}
	if got := must(t, ctx, chromedp.Evaluate[string](`document.querySelector("#live [role=status]").textContent`)); got != "Updated: critical, m.rossi emptied the bucket ledger" {
		t.Errorf("the page says %q", got)
	}
	if !must(t, ctx, chromedp.Evaluate[bool](`window.here === true`)) {
		t.Error("the page was loaded again")
	}

	// On its own page a finding arrives, and what the reader has opened stays open.
	raw := "#raw-" + id("n1")
	do(t, ctx, chromedp.Navigate(base+incidentPath(news.ID)), live(),
		chromedp.Click(chromedp.CSS(raw+" > summary")), chromedp.WaitVisible(chromedp.CSS(raw+" .records pre")))
	news.Findings = append(news.Findings, finding("n2", "impact.bucket-deleted", "m.rossi deleted the bucket ledger", event.Critical, 9*time.Minute))
	f.put(news)
	do(t, ctx, chromedp.WaitVisible(chromedp.CSS("#f-"+id("n2"))))
	if !must(t, ctx, chromedp.Evaluate[bool](fmt.Sprintf(`!!document.querySelector("%s[open] .records pre")`, raw))) {
		t.Error("the raw event that was open is not any more")
	}

	// It becomes part of another.
	news.Merged = id("takeover")
	f.put(news)
	do(t, ctx, chromedp.WaitVisible(chromedp.CSS(fmt.Sprintf(`#live a[href="%s"]`, incidentPath(id("takeover"))))))
	for _, s := range said.Take() {
		t.Error(s)
	}
}
