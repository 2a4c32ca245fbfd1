package main

import (
	"encoding/json"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
)

// nothing stands in a table where there is nothing to say.
const nothing = "-"

// printable makes a text fit for a terminal, which a name that a provider or a
// browser sent may well not be: an escape sequence would be obeyed.
func printable(text string) string {
	text = strings.Map(func(c rune) rune {
		if unicode.IsPrint(c) {
			return c
		}
		return '·'
	}, text)
	if text == "" {
		return nothing
	}
	return text
}

// shortTime is a time in the operator's own zone, no longer than it takes.
func shortTime(at, now time.Time) string {
	at, now = at.Local(), now.Local()
	switch {
	case at.IsZero():
		return nothing
	case at.YearDay() == now.YearDay() && at.Year() == now.Year():
		return at.Format("15:04:05")
	case at.Year() == now.Year():
		return at.Format("2 Jan 15:04")
	default:
		return at.Format("2 Jan 2006")
	}
}

// table prints rows under a head, in columns.
func table(w io.Writer, head []string, rows [][]string) error {
	columns := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range append([][]string{head}, rows...) {
		if _, err := io.WriteString(columns, strings.Join(row, "\t")+"\n"); err != nil {
			return err
		}
	}
	return columns.Flush()
}

// printJSON prints a value for programs.
func printJSON(w io.Writer, value any) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(value)
}
