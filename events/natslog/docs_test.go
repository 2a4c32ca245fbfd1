package natslog

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"curfew/events"
	"curfew/events/natslog/natstest"
)

// documented are the configurations of NATS servers that the page for operators
// shows, as the server reads them.
func documented(t *testing.T) (alone, ofThree *server.Options) {
	t.Helper()
	page, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	var read []*server.Options
	for i, block := range strings.Split(string(page), "\n```conf\n")[1:] {
		text, _, _ := strings.Cut(block, "\n```\n")
		file := filepath.Join(t.TempDir(), fmt.Sprint(i))
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		options, err := server.ProcessConfigFile(file)
		if err != nil {
			t.Fatal(err)
		}
		read = append(read, options)
	}
	if len(read) != 2 {
		t.Fatalf("the page has %d configurations, want two", len(read))
	}
	return read[0], read[1]
}

// TestDocumentedServers has servers run with the accounts and limits that the
// page shows, and keep a log of one replica, and of three.
func TestDocumentedServers(t *testing.T) {
	t.Parallel()
	alone, ofThree := documented(t)
	if !alone.SyncAlways || alone.Cluster.Port != 0 {
		t.Errorf("one server: sync always is %t, the cluster's port %d", alone.SyncAlways, alone.Cluster.Port)
	}
	if ofThree.SyncAlways || ofThree.Cluster.Name == "" || ofThree.Cluster.Username == "" || len(ofThree.Routes) != 3 {
		t.Errorf("one of three: sync always is %t, the cluster %+v, routes %q", ofThree.SyncAlways, ofThree.Cluster, ofThree.Routes)
	}
	for nodes, read := range map[int]func() *server.Options{
		1: func() *server.Options { alone, _ := documented(t); return alone },
		3: func() *server.Options { _, ofThree := documented(t); return ofThree },
	} {
		c := natstest.Start(t, nodes, func(o *server.Options) {
			page := read()
			if !page.JetStream || page.StoreDir == "" || page.HTTPHost != "127.0.0.1" {
				t.Errorf("%d nodes: JetStream is %t, in %q, monitored at %q", nodes, page.JetStream, page.StoreDir, page.HTTPHost)
			}
			o.Accounts, o.Users, o.SystemAccount = page.Accounts, page.Users, page.SystemAccount
			o.JetStreamMaxMemory, o.JetStreamMaxStore, o.SyncAlways = page.JetStreamMaxMemory, page.JetStreamMaxStore, page.SyncAlways
		})
		config := remoteConfig(strings.ReplaceAll(c.URLs(), "nats://", "nats://curfew:change-me@"))
		config.Replicas = nodes
		log := open(t, config)
		if _, err := log.Append(t.Context(), alive("a"), events.Always()); err != nil {
			t.Errorf("%d nodes: %v", nodes, err)
		}
	}
}
