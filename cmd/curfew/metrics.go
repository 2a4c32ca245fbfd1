package main

import (
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"curfew/events"
	"curfew/sessions"
	"curfew/sessions/guard"
)

// metrics is what one replica counts.
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	logouts  *prometheus.CounterVec
	faults   *prometheus.CounterVec
	renewals *prometheus.CounterVec
	applying prometheus.Counter
	// last is where the log ended when the newest batch was cut.
	last   atomic.Uint64
	outbox *prometheus.CounterVec
}

// What becomes of logouts that the log does not take at once.
const (
	outboxKept    = "kept"
	outboxFailed  = "failed"
	outboxFull    = "full"
	outboxDrained = "drained"
)

func newMetrics() *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "curfew_requests_total",
			Help: "Requests answered, by endpoint, status and, for the guard's refusals, reason.",
		}, []string{"endpoint", "status", "reason"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "curfew_request_seconds",
			Help:    "How long requests took to answer, by endpoint.",
			Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .05, .25, 1, 2.5, 10},
		}, []string{"endpoint"}),
		logouts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "curfew_logouts_total",
			Help: "Logouts answered by this replica, by fence: complete if no replica could honour the session any more.",
		}, []string{"fence"}),
		renewals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "curfew_refreshes_total",
			Help: "Questions to the provider for a session's new tokens, by outcome: refreshed, refused (the session has ended), trouble, or lapsed (no refresh token is left).",
		}, []string{"outcome"}),
		faults: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "curfew_faults_total",
			Help: "Faults by the part they stopped, which was then started again.",
		}, []string{"part"}),
		outbox: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "curfew_outbox_total",
			Help: "Logouts that the log did not take at once, by outcome: kept on disk; failed, kept in memory only; full, not kept; drained, taken by the log later.",
		}, []string{"outcome"}),
	}
	for _, outcome := range []string{outboxKept, outboxFailed, outboxFull, outboxDrained} {
		m.outbox.WithLabelValues(outcome)
	}
	m.applying = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "curfew_apply_errors_total",
		Help: "Batches of the log that were applied in vain and will be again.",
	})
	// What has not happened yet is nought, not absent: an alert compares it.
	for _, fence := range []sessions.Fence{sessions.Complete, sessions.Pending} {
		m.logouts.WithLabelValues(fence.String())
	}
	for _, part := range []place{following, committing} {
		m.faults.WithLabelValues(part.part())
	}
	for _, outcome := range []sessions.Outcome{sessions.Refreshed, sessions.Refused, sessions.Lapsed, sessions.Troubled} {
		m.renewals.WithLabelValues(string(outcome))
	}
	m.registry.MustRegister(m.requests, m.seconds, m.logouts, m.faults, m.renewals, m.applying, m.outbox,
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// watch adds what is not counted but looked at.
func (m *metrics) watch(registry *sessions.Registry, lease *sessions.Lease, fleet *sessions.Fleet, backlog *sessions.Backlog) {
	gauge := func(name, help string, value func() float64) {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value))
	}
	gauge("curfew_sessions", "Sessions known, ended ones included until they are forgotten.",
		func() float64 { return float64(registry.Len()) })
	gauge("curfew_applied_position", "How far the log has been applied.",
		func() float64 { return float64(registry.Applied().At) })
	gauge("curfew_log_position", "Where the log ends, as last known.",
		func() float64 { return float64(m.end()) })
	gauge("curfew_lag", "How many positions the log's end, as last known, is ahead of what has been applied.",
		func() float64 { return float64(behind(registry.Applied().At, m.end())) })
	gauge("curfew_outbox", "Logouts that wait for the log to take them.",
		func() float64 { return float64(backlog.Len()) })
	gauge("curfew_fresh", "1 while this replica can prove that it has missed no logout.", func() float64 {
		if lease.Fresh() {
			return 1
		}
		return 0
	})
	gauge("curfew_staleness_seconds", "How old that proof is; -1 if there is none.", func() float64 {
		age, proven := lease.Age()
		if !proven {
			return -1
		}
		return age.Seconds()
	})
	gauge("curfew_peers", "Other replicas that may be honouring sessions.", func() float64 {
		live := 0
		for _, peer := range fleet.Peers() {
			if !peer.Left && peer.Remaining > 0 {
				live++
			}
		}
		return float64(live)
	})
}

// watchTabs adds how many pages wait to be told that their session has ended.
func (m *metrics) watchTabs(g *guard.Guard) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "curfew_open_tabs", Help: "Open streams on which pages wait to be told that their session has ended.",
	}, func() float64 { return float64(g.OpenTabs()) }))
}

// end is where the log ends, as last known.
func (m *metrics) end() events.Position { return events.Position(m.last.Load()) }

// applies watches what is done with each batch.
func (m *metrics) applies(apply func(events.Batch) error) func(events.Batch) error {
	return func(batch events.Batch) error {
		m.last.Store(uint64(batch.Last))
		err := apply(batch)
		if err != nil {
			m.applying.Inc()
		}
		return err
	}
}

// refreshed counts a try to refresh a session.
func (m *metrics) refreshed(outcome sessions.Outcome) {
	m.renewals.WithLabelValues(string(outcome)).Inc()
}

// handler serves the metrics in Prometheus' text format.
func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// count counts what next answers.
func (m *metrics) count(endpoint string, next http.Handler) http.Handler {
	seconds := m.seconds.WithLabelValues(endpoint)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		seen := &statusWriter{ResponseWriter: w, status: http.StatusOK}
		next.ServeHTTP(seen, r)
		seconds.Observe(time.Since(began).Seconds())
		reason := w.Header().Get(guard.HeaderReason)
		m.requests.WithLabelValues(endpoint, strconv.Itoa(seen.status), reason).Inc()
		if fence := w.Header().Get("Curfew-Fence"); fence != "" {
			m.logouts.WithLabelValues(fence).Inc()
		}
	})
}

// statusWriter remembers the status.
type statusWriter struct {
	http.ResponseWriter
	status int
}

// WriteHeader remembers the status and passes it on. The last one counts: what
// comes before it was informational (RFC 9110 section 15.2).
func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController reach what is wrapped.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
