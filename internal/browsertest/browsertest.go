// Package browsertest drives a real browser in tests: what a page does, and
// what it refuses to do, shows only there.
package browsertest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// programs are the names under which a browser is found.
var programs = []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "headless-shell"}

// patience is how long all that a test does with a browser may take.
const patience = 3 * time.Minute

// New returns a context for chromedp with one open tab of a browser that knows
// nothing of earlier tests. Without a browser the test is skipped, or fails where
// RIPOSTE_BROWSER is "required" or CI is set.
func New(t testing.TB) context.Context {
	t.Helper()
	program := find()
	if program == "" {
		const how = "no browser: install one with `apt-get install chromium`"
		if os.Getenv("RIPOSTE_BROWSER") == "required" || os.Getenv("CI") != "" {
			t.Fatal(how)
		}
		t.Skip(how)
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(program),
		chromedp.UserDataDir(t.TempDir()),
		chromedp.NoSandbox, // tests run as root in containers, and open only our own pages
		chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-sync", true),
		chromedp.Flag("no-proxy-server", true),
	)
	allocated, end := chromedp.NewExecAllocator(t.Context(), options...)
	ctx, closeTab := chromedp.NewContext(allocated)
	t.Cleanup(func() {
		closeTab()
		end()
	})
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("start %s: %v", program, err)
	}
	// The browser lives as long as the context it was started with; only what
	// the test does in it is timed.
	timed, stop := context.WithTimeout(ctx, patience)
	t.Cleanup(stop)
	return timed
}

func find() string {
	for _, name := range programs {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}

// Complaints are what the browser had to say about pages: errors and warnings of
// the console, breaches of the content security policy, requests that failed,
// exceptions, dialogs.
type Complaints struct {
	mu   sync.Mutex
	said []string
}

// Listen collects the complaints of the tab from now on.
func Listen(t testing.TB, ctx context.Context) *Complaints {
	t.Helper()
	c := &Complaints{}
	err := chromedp.Listen(ctx, func(ev any) {
		switch ev := ev.(type) {
		case *log.EventEntryAdded:
			if ev.Entry.Level == log.EntryLevelError || ev.Entry.Level == log.EntryLevelWarning {
				c.add("%s: %s %s", ev.Entry.Source, ev.Entry.Text, ev.Entry.URL)
			}
		case *runtime.EventConsoleAPICalled:
			switch ev.Type {
			case runtime.ConsoleAPICalledTypeError, runtime.ConsoleAPICalledTypeWarning, runtime.ConsoleAPICalledTypeAssert:
				c.add("console: %s", arguments(ev.Args))
			}
		case *runtime.EventExceptionThrown:
			c.add("exception: %s", exception(ev.ExceptionDetails))
		case *page.EventJavascriptDialogOpening:
			c.add("dialog: %s", ev.Message)
			// The listener must not wait for the browser; this ends with the tab.
			go chromedp.Call(ctx, page.HandleJavaScriptDialog, page.HandleJavaScriptDialogParams{Accept: true})
		}
	})
	if err != nil {
		t.Fatalf("listen to the browser: %v", err)
	}
	return c
}

func exception(d *runtime.ExceptionDetails) string {
	text := fmt.Sprintf("%s %s:%d:%d", d.Text, d.URL, d.LineNumber+1, d.ColumnNumber+1)
	if d.Exception != nil {
		text += " " + d.Exception.Description
	}
	return text
}

func arguments(args []*runtime.RemoteObject) string {
	var out []string
	for _, a := range args {
		out = append(out, strings.TrimSpace(string(a.Value)+" "+a.Description))
	}
	return strings.Join(out, " ")
}

func (c *Complaints) add(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.said = append(c.said, fmt.Sprintf(format, args...))
}

// Take returns the complaints so far and forgets them.
func (c *Complaints) Take() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	said := c.said
	c.said = nil
	return said
}
