package main

import (
	"bytes"
	"errors"
	"regexp"
	"strconv"
	"testing"

	"curfew/events"
)

// metric reads one value; it is missing where there is none.
func (h *appHouse) metric(name string) (value float64, found bool) {
	h.t.Helper()
	body := h.call("GET", "/metrics", "").body
	match := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(name) + ` (\S+)$`).FindSubmatch(body)
	if match == nil {
		return 0, false
	}
	value, err := strconv.ParseFloat(string(match[1]), 64)
	if err != nil {
		h.t.Fatal(err)
	}
	return value, true
}

func (h *appHouse) wantMetric(name string, want float64) {
	h.t.Helper()
	if got, found := h.metric(name); !found || got != want {
		h.t.Errorf("%s is %v (found %v), want %v", name, got, found, want)
	}
}

func TestMetricsOfWhatGoesWrong(t *testing.T) {
	h := newAppHouse(t)
	for _, name := range []string{
		`curfew_logouts_total{fence="complete"}`, `curfew_logouts_total{fence="pending"}`,
		`curfew_faults_total{part="follow"}`, "curfew_apply_errors_total",
	} {
		h.wantMetric(name, 0) // there from the start, so that an alert has something to compare
	}
	view, _ := h.signedIn("ada")
	h.call("DELETE", "/v1/sessions/"+view.Session.String(), "")
	h.call("POST", "/v1/logouts", `{"all":true}`)
	h.wantMetric(`curfew_logouts_total{fence="complete"}`, 2)
	h.wantMetric(`curfew_requests_total{endpoint="admin-session",reason="",status="204"}`, 1)
	h.wantMetric(`curfew_requests_total{endpoint="admin-logouts",reason="",status="200"}`, 1)
	if last, found := h.metric("curfew_log_position"); !found || last < 3 {
		t.Errorf("the log ends at %v", last)
	}
	h.wantMetric("curfew_lag", 0)
	if body := h.call("GET", "/metrics", "").body; bytes.Contains(body, []byte(view.Session.String())) {
		t.Error("a session is named in the metrics")
	}
}

func TestLagAndApplyErrorsAreMeasured(t *testing.T) {
	h := newAppHouse(t)
	h.stop()
	m := h.app.metrics
	broken := errors.New("disk full")
	err := m.applies(func(events.Batch) error { return broken })(events.Batch{Position: 5, Last: 1_000_000})
	if !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, family := range families {
		got[family.GetName()] = family.GetMetric()[0].GetGauge().GetValue() + family.GetMetric()[0].GetCounter().GetValue()
	}
	applied := float64(h.app.registry.Applied().At)
	if got["curfew_log_position"] != 1_000_000 || got["curfew_lag"] != 1_000_000-applied || got["curfew_apply_errors_total"] != 1 {
		t.Errorf("got position %v, lag %v with %v applied, errors %v",
			got["curfew_log_position"], got["curfew_lag"], applied, got["curfew_apply_errors_total"])
	}
}
