package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// chromium is a headless browser in which several people have cookies of their
// own.
type chromium struct{ ctx context.Context }

// openChromium starts the browser. Without one the test is skipped, or fails where
// CI=true.
func openChromium(t *testing.T, environment ...string) *chromium {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		what := "NOT TESTED: chromium is not installed: install it to have pages looked at"
		if os.Getenv("CI") == "true" {
			t.Fatal(what)
		}
		t.Skip(what)
	}
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
		chromedp.ExecPath(path),
		chromedp.Env(environment...),
		// nginx has the certificate of a test.
		chromedp.Flag("ignore-certificate-errors", true),
		// The same letters on every machine that has the same fonts.
		chromedp.Flag("disable-lcd-text", true),
		chromedp.Flag("font-render-hinting", "none"),
		chromedp.Flag("hide-scrollbars", true),
	)
	allocator, end := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(end)
	ctx, leave := chromedp.NewContext(allocator)
	t.Cleanup(leave)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("chromium does not start: %v", err)
	}
	return &chromium{ctx}
}

// tab is one that a person has open.
type tab struct {
	t   *testing.T
	ctx context.Context

	mu         sync.Mutex
	complaints []string
	status     int64 // of the newest page
}

// person opens a tab for somebody who has no cookies yet.
func (c *chromium) person(t *testing.T) *tab {
	t.Helper()
	return openTab(c.ctx, t, chromedp.WithNewBrowserContext())
}

// another opens a further tab for the same person.
func (b *tab) another() *tab {
	b.t.Helper()
	return openTab(b.ctx, b.t)
}

func openTab(parent context.Context, t *testing.T, options ...chromedp.ContextOption) *tab {
	t.Helper()
	b := &tab{t: t}
	var leave context.CancelFunc
	b.ctx, leave = chromedp.NewContext(parent, append(options, chromedp.WithListener(b.hear))...)
	t.Cleanup(leave)
	if err := chromedp.Do(b.ctx); err != nil {
		t.Fatalf("no tab: %v", err)
	}
	return b
}

// hear notes what the page complains of, and its status. It runs where the
// browser's messages are read, so it does nothing else.
func (b *tab) hear(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		b.complaints = append(b.complaints, "exception: "+e.ExceptionDetails.Text)
	case *runtime.EventConsoleAPICalled:
		b.complaints = append(b.complaints, fmt.Sprintf("console: %s", e.Type))
	case *log.EventEntryAdded:
		// That a page has the status 403 is no complaint of the page's.
		if e.Entry.Source != log.EntrySourceNetwork {
			b.complaints = append(b.complaints, fmt.Sprintf("%s: %s", e.Entry.Source, e.Entry.Text))
		}
	case *network.EventResponseReceived:
		if e.Type == network.ResourceTypeDocument {
			b.status = e.Response.Status
		}
	case *network.EventLoadingFailed:
		if !e.Canceled {
			b.complaints = append(b.complaints, fmt.Sprintf("not loaded: %s %s", e.Type, e.ErrorText))
		}
	}
}

// complained is what was complained of since it was last asked.
func (b *tab) complained() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	defer func() { b.complaints = nil }()
	return b.complaints
}

// answered is the status of the newest page.
func (b *tab) answered() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.status
}

// attempt bounds what a person does.
func attempt[T any](b *tab, action chromedp.Action[T]) (T, error) {
	ctx, cancel := context.WithTimeout(b.ctx, patient)
	defer cancel()
	return chromedp.Run(ctx, action)
}

// act is attempt for what must not fail.
func act[T any](b *tab, action chromedp.Action[T]) T {
	b.t.Helper()
	result, err := attempt(b, action)
	if err != nil {
		b.t.Fatalf("at %s: %v", b.where(), err)
	}
	return result
}

// where is the address that the person sees; empty while a page is being left.
func (b *tab) where() string {
	address, err := attempt(b, chromedp.Evaluate[string](`document.readyState == "complete" ? location.href : ""`))
	if err != nil {
		return ""
	}
	return address
}

// open goes to an address, and to wherever it leads.
func (b *tab) open(address string) {
	b.t.Helper()
	act(b, chromedp.Navigate(address))
}

// arrives waits until a page is there.
func (b *tab) arrives(address string) {
	b.t.Helper()
	b.arrivesWhere(address, func(at string) bool { return at == address })
}

// arrivesAt waits until a page whose address begins so is there.
func (b *tab) arrivesAt(beginning string) {
	b.t.Helper()
	b.arrivesWhere(beginning, func(at string) bool { return strings.HasPrefix(at, beginning) })
}

func (b *tab) arrivesWhere(what string, is func(string) bool) {
	b.t.Helper()
	var last string
	defer func() {
		if b.t.Failed() {
			b.t.Logf("last at %s", last)
		}
	}()
	eventually(b.t, "the tab is at "+what, func() bool {
		last = b.where()
		return is(last)
	})
}

// text is an element's.
func (b *tab) text(selector string) string {
	b.t.Helper()
	return strings.TrimSpace(act(b, chromedp.Text(chromedp.CSS(selector))))
}

// click clicks where a person would.
func (b *tab) click(selector string) {
	b.t.Helper()
	act(b, chromedp.Click(chromedp.CSS(selector), chromedp.NodeVisible))
}

// fill types into a field.
func (b *tab) fill(selector, text string) {
	b.t.Helper()
	act(b, chromedp.SendKeys(chromedp.CSS(selector), text, chromedp.NodeVisible))
}
