package realop

import (
	"net/url"
	"testing"
)

func TestFindForm(t *testing.T) {
	page := &url.URL{Scheme: "http", Host: "op.example", Path: "/a/b"}
	for _, c := range []struct{ name, body, step, action, values string }{
		{"none", `<!doctype html><p>No form<br>here`, "", "", ""},
		{"somebody else's", `<form action="/x"><input name="a" value="b"></form>`, "", "", ""},
		{"ours after another", `<form><input name="a"></form><form data-step="s" action="/x"><input name="b" value="c&amp;d"></form>`, "s", "http://op.example/x", "b=c%26d"},
		{"without an action", `<form data-step="s"></form>`, "s", "http://op.example/a/b", ""},
		{"radio buttons", `<form data-step="s"><input type=radio name=a value=1><input type=radio name=a value=2 checked></form>`, "s", "http://op.example/a/b", "a=2"},
		{"sends itself", `<script>document.forms[0].submit()</script><form action="x"><input name="a" value="b"/></form>`, "auto", "http://op.example/a/x", "a=b"},
		{"cut short", `<form data-step="s"><input name="a" value="b">`, "s", "http://op.example/a/b", "a=b"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := findForm(page, []byte(c.body))
			if err != nil {
				t.Fatal(err)
			}
			if got == nil {
				got = &form{action: &url.URL{}}
			}
			if got.step != c.step || got.action.String() != c.action || got.values.Encode() != c.values {
				t.Errorf("form is %q to %q with %q, want %q to %q with %q", got.step, got.action, got.values.Encode(), c.step, c.action, c.values)
			}
		})
	}
}
