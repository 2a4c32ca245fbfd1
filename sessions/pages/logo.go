package pages

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"image/png"
	"io"
	"net/http"
	"strings"
)

// logo is an image that every page shows above its text.
type logo struct {
	kind    string // media type
	content string
	version string
}

// newLogo takes a picture that browsers will show.
func newLogo(name string, content []byte) (*logo, error) {
	l := &logo{kind: "image/png", content: string(content), version: versionOf(string(content))}
	if strings.HasSuffix(name, ".svg") {
		l.kind = "image/svg+xml"
		return l, checkSVG(content)
	}
	if _, err := png.DecodeConfig(bytes.NewReader(content)); err != nil {
		return nil, fmt.Errorf("is no PNG image: %w", err)
	}
	return l, nil
}

const svgSpace = "http://www.w3.org/2000/svg"

// checkSVG wants XML to its end, and the namespace without which a browser
// takes an image for nothing.
func checkSVG(content []byte) error {
	reader := xml.NewDecoder(bytes.NewReader(content))
	root := xml.Name{}
	for {
		token, err := reader.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("is no SVG image (export it as plain SVG): %w", err)
		}
		if start, ok := token.(xml.StartElement); ok && root.Local == "" {
			root = start.Name
		}
	}
	if root.Local != "svg" || root.Space != svgSpace {
		return fmt.Errorf("is no SVG image: it must begin with <svg xmlns=%q", svgSpace)
	}
	return nil
}

// LogoPath is where ServeLogo is expected, below the prefix.
func (p *Pages) LogoPath() string { return "/logo" }

// ServeLogo answers with the logo of the folder, and without one that there is no
// such page. Opened by itself an SVG image is a document that may hold scripts,
// so it gets a policy and an origin that let them do nothing.
func (p *Pages) ServeLogo(w http.ResponseWriter, r *http.Request) {
	l := p.looks().logo
	if l == nil {
		p.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Security-Policy", "sandbox; default-src 'none'; style-src 'unsafe-inline'")
	serve(w, r, l.kind, l.version, l.content)
}
