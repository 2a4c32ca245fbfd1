package pages_test

import (
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"curfew/sessions/pages"
)

type colour [3]float64

// palettes are the stylesheet's colours by name, in light and in dark.
func palettes(t *testing.T) map[string]map[string]colour {
	t.Helper()
	light, rest, _ := strings.Cut(pages.Style(), "@media (prefers-color-scheme: dark)")
	dark, _, found := strings.Cut(rest, "\n}")
	if !found {
		t.Fatal("the stylesheet has no dark palette at its beginning")
	}
	all := make(map[string]map[string]colour)
	for name, block := range map[string]string{"light": light, "dark": dark} {
		all[name] = make(map[string]colour)
		for _, match := range regexp.MustCompile(`--([a-z-]+): #([0-9a-f]{6})`).FindAllStringSubmatch(block, -1) {
			hex, err := strconv.ParseUint(match[2], 16, 32)
			if err != nil {
				t.Fatal(err)
			}
			all[name][match[1]] = colour{float64(hex >> 16), float64(hex >> 8 & 0xff), float64(hex & 0xff)}
		}
	}
	return all
}

// over is a colour of which so much is mixed into another, as color-mix does it.
func (c colour) over(below colour, share float64) (mixed colour) {
	for i := range c {
		mixed[i] = c[i]*share + below[i]*(1-share)
	}
	return mixed
}

// luminance and contrast are those of WCAG 2.2.
func (c colour) luminance() float64 {
	linear := func(v float64) float64 {
		if v /= 255; v <= 0.04045 {
			return v / 12.92
		}
		return math.Pow((v+0.055)/1.055, 2.4)
	}
	return 0.2126*linear(c[0]) + 0.7152*linear(c[1]) + 0.0722*linear(c[2])
}

func contrast(a, b colour) float64 {
	x, y := a.luminance(), b.luminance()
	return (max(x, y) + 0.05) / (min(x, y) + 0.05)
}

// WCAG asks for 4.5 to 1 for text (1.4.3) and 3 to 1 for what tells a control
// or a picture from what is around it (1.4.11). What is mixed here is mixed so
// in the stylesheet.
func TestContrast(t *testing.T) {
	if got := contrast(colour{}, colour{255, 255, 255}); math.Abs(got-21) > 1e-9 {
		t.Fatalf("black on white is %v, want 21", got)
	}
	const text, shape = 4.5, 3
	for name, c := range palettes(t) {
		for what, pair := range map[string]struct {
			fore, back colour
			least      float64
		}{
			"text":                    {c["ink"], c["card"], text},
			"text on the background":  {c["ink"], c["bg"], text},
			"quieter text":            {c["muted"], c["card"], text},
			"a link":                  {c["accent"], c["card"], text},
			"a button":                {c["on-accent"], c["accent"], text},
			"a button pointed at":     {c["on-accent"], c["accent"].over(c["ink"], 0.88), text},
			"the warning button":      {c["bad"], c["card"], text},
			"that button pointed at":  {c["bad"], c["bad"].over(c["card"], 0.09), text},
			"the badge":               {c["accent"], c["accent"].over(c["card"], 0.12), text},
			"the notice":              {c["ink"], c["ok"].over(c["card"], 0.10), text},
			"a quiet button's border": {c["field"], c["card"], shape},
			"the focus":               {c["accent"], c["card"], shape},
			"the sign of an end":      {c["ok"], c["ok"].over(c["card"], 0.13), shape},
			"the sign of a fault":     {c["bad"], c["bad"].over(c["card"], 0.13), shape},
			"the sign of a question":  {c["accent"], c["accent"].over(c["card"], 0.13), shape},
			"the sign of a device":    {c["muted"], c["muted"].over(c["card"], 0.13), shape},
		} {
			if got := contrast(pair.fore, pair.back); got < pair.least {
				t.Errorf("%s: %s has a contrast of %.2f, want %v", name, what, got, pair.least)
			}
		}
	}
}
