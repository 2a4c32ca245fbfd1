package main

import (
	"bytes"
	"cmp"
	"errors"
	"flag"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"curfew/sessions/pages"
)

// picturesFlag is for make screenshots.
var picturesFlag = flag.String("pictures", "", "take new pictures of every page, into this folder")

const (
	pictureFolder = "../../docs/screenshots"
	// maxPicture keeps small what everybody fetches with the sources.
	maxPicture = 40 << 10
)

// TestPictures wants docs/screenshots to have a picture of every page on every
// screen, and no others. Whether they are up to date is for make screenshots to
// say: other fonts, or another Chromium, draw other pictures of the same page.
func TestPictures(t *testing.T) {
	if *picturesFlag != "" {
		takePictures(t, *picturesFlag)
	}
	files, err := filepath.Glob(filepath.Join(pictureFolder, "*.png"))
	if err != nil {
		t.Fatal(err)
	}
	gallery, err := os.ReadFile(filepath.Join(pictureFolder, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	there := map[string]bool{}
	for _, file := range files {
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		if info.Size() > maxPicture {
			t.Errorf("%s has %d bytes, want at most %d", file, info.Size(), maxPicture)
		}
		there[filepath.Base(file)] = true
	}
	for _, page := range allShown() {
		for _, s := range screens() {
			name := page.name + "-" + s.name + ".png"
			if !there[name] || !bytes.Contains(gallery, []byte(`src="`+name+`"`)) {
				t.Errorf("there is no %s, or it is not shown: run make screenshots", name)
			}
			delete(there, name)
		}
	}
	for name := range there {
		t.Errorf("%s is of no page that there is", name)
	}
}

var shownPicture = regexp.MustCompile(`docs/screenshots/([\w-]+\.png)`)

// What the front page shows must be there too.
func TestPicturesOfTheFrontPage(t *testing.T) {
	page, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	found := shownPicture.FindAllSubmatch(page, -1)
	for _, match := range found {
		if _, err := os.Stat(filepath.Join(pictureFolder, string(match[1]))); err != nil {
			t.Error(err)
		}
	}
	if len(found) == 0 {
		t.Error("it shows none")
	}
}

// takePictures takes them, of whole pages, and writes the page that shows them.
func takePictures(t *testing.T, folder string) {
	t.Helper()
	old, err := filepath.Glob(filepath.Join(folder, "*.png"))
	err = errors.Join(err, os.MkdirAll(folder, 0o755))
	for _, name := range old {
		err = errors.Join(err, os.Remove(name))
	}
	if err != nil {
		t.Fatal(err)
	}
	gallery := galleryHead
	stage := pageStage(t, pages.New("/auth"))
	b := openChromium(t, "FONTCONFIG_FILE="+fontsNamed(t)).person(t)
	for _, page := range allShown() {
		b.open(stage.URL + "/auth/" + page.name)
		title := b.text("h1")
		gallery += "\n## " + title + "\n\n`" + page.name + "`\n\n"
		for _, s := range screens() {
			b.looks(s, pictureScale)
			s.height = max(s.height, act(b, chromedp.Evaluate[int64](`document.documentElement.scrollHeight`)))
			b.looks(s, pictureScale)
			name := filepath.Join(folder, page.name+"-"+s.name+".png")
			if err := os.WriteFile(name, small(t, act(b, chromedp.CaptureScreenshot())), 0o644); err != nil {
				t.Fatal(err)
			}
			gallery += fmt.Sprintf("<img src=%q alt=%q width=\"%d\">\n", filepath.Base(name), title+" ("+strings.ReplaceAll(s.name, "-", ", ")+")", s.width/2)
		}
	}
	if err := os.WriteFile(filepath.Join(folder, "README.md"), []byte(gallery), 0o644); err != nil {
		t.Fatal(err)
	}
}

const (
	pictureScale = 1
	galleryHead  = `# What people see

Every page that curfew shows, light and dark, on a desk and on a phone, as Chromium draws it with Liberation's letters.
` + "`make screenshots`" + ` takes the pictures and writes this page. [pages.md](../pages.md) says what can be made one's own.
`
)

// fontsNamed has Chromium draw with Liberation's letters whatever a page asks for.
func fontsNamed(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "fonts.conf")
	content := `<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd"><fontconfig>
<dir>/usr/share/fonts/truetype/liberation</dir><cachedir>` + filepath.Dir(name) + `</cachedir>
<alias binding="same"><family>monospace</family><prefer><family>Liberation Mono</family></prefer></alias>
<match target="pattern"><edit name="family" mode="append_last"><string>Liberation Sans</string></edit></match>
</fontconfig>`
	if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

// small writes a picture in as few colours as such a page needs.
func small(t *testing.T, picture []byte) []byte {
	t.Helper()
	whole, err := png.Decode(bytes.NewReader(picture))
	if err != nil {
		t.Fatal(err)
	}
	few := image.NewPaletted(whole.Bounds(), usual(whole, 48))
	draw.Draw(few, few.Bounds(), whole, whole.Bounds().Min, draw.Src)
	var b bytes.Buffer
	encoder := png.Encoder{CompressionLevel: png.BestCompression}
	if err := encoder.Encode(&b, few); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// usual is n colours of a picture: the most frequent that differ. The others are
// shades at the edges of letters, for which the nearest will do.
func usual(whole image.Image, n int) color.Palette {
	often := map[color.RGBA]int{}
	bounds := whole.Bounds()
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		for x := bounds.Min.X; x < bounds.Max.X; x++ {
			often[color.RGBAModel.Convert(whole.At(x, y)).(color.RGBA)]++
		}
	}
	all := slices.SortedFunc(maps.Keys(often), func(a, b color.RGBA) int {
		return cmp.Or(cmp.Compare(often[b], often[a]), cmp.Compare(a.R, b.R), cmp.Compare(a.G, b.G), cmp.Compare(a.B, b.B))
	})
	var palette color.Palette
	for _, c := range all {
		like := func(other color.Color) bool { return apart(c, other.(color.RGBA)) < 10 }
		// Surfaces keep their colours, however alike they are.
		if len(palette) < n && (len(palette) < 4 || !slices.ContainsFunc(palette, like)) {
			palette = append(palette, c)
		}
	}
	return palette
}

func apart(a, b color.RGBA) int {
	between := func(a, b uint8) int { return int(max(a, b) - min(a, b)) }
	return between(a.R, b.R) + between(a.G, b.G) + between(a.B, b.B)
}
