package main

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"curfew/store"
)

// TestKeptKey has a key made where there is nothing it could have sealed, and
// in no other case.
func TestKeptKey(t *testing.T) {
	for _, c := range []struct {
		name    string
		present []string // files of the folder, which hold anything
		key     string
		fault   string // what it says; empty: none
	}{
		{"a new folder", nil, "", ""},
		{"a key alone", nil, store.GenerateKey(), ""},
		{"a key and a store", []string{"store.db"}, store.GenerateKey() + "\n", ""},
		{"a store without its key", []string{"store.db"}, "", "is gone"},
		{"a log without its key", []string{"log/x"}, "", "is gone"},
		{"a spoilt key", []string{"store.db"}, "rubbish", "it has 7 characters"},
		{"an empty key", nil, "\n", "it is empty"},
	} {
		dir := t.TempDir()
		for _, name := range c.present {
			write(t, filepath.Join(dir, name), "x")
		}
		path := filepath.Join(dir, "key")
		if c.key != "" {
			write(t, path, c.key)
		}
		ring, err := openKeyring(config{data: dir})
		if (ring != nil) != (c.fault == "") || (err == nil) != (c.fault == "") {
			t.Errorf("%s: got %v, %v", c.name, ring, err)
			continue
		}
		content, _ := os.ReadFile(path)
		if err == nil {
			if _, err := store.ParseKeyring(strings.TrimSpace(string(content))); err != nil {
				t.Errorf("%s: the file holds no key: %v", c.name, err)
			}
			continue
		}
		if string(content) != c.key {
			t.Errorf("%s: the key became another", c.name)
		}
		if _, ok := errors.AsType[*configError](err); !ok || !strings.Contains(err.Error(), "OIDC_TOKEN_ENCRYPTION_KEY: ") ||
			!strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), c.fault) {
			t.Errorf("%s: got %v", c.name, err)
		}
		if strings.Contains(err.Error(), "rubbish") {
			t.Errorf("%s: the message holds the key: %v", c.name, err)
		}
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestConfiguredKeyAlone has nothing made or looked for where a key is
// configured.
func TestConfiguredKeyAlone(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "store.db"), "x")
	c, err := load(with("CURFEW_DATA", dir, "OIDC_TOKEN_ENCRYPTION_KEY", store.GenerateKey()))
	if err != nil {
		t.Fatal(err)
	}
	if ring, err := openKeyring(c); err != nil || ring.Len() != 1 {
		t.Errorf("got %v, %v", ring, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "key")); err == nil {
		t.Error("a key was made")
	}
}

// TestOpenToOthers has an operator told what others on the machine can read.
func TestOpenToOthers(t *testing.T) {
	for _, c := range []struct {
		folder, key os.FileMode
		want        []string
	}{
		{0o700, 0o600, nil},
		{0o700, 0o400, nil},
		{0o750, 0o600, []string{""}},
		{0o701, 0o600, []string{""}},
		{0o700, 0o640, []string{"key"}},
		{0o755, 0o644, []string{"", "key"}},
		{0o700, 0, nil}, // no such file
	} {
		dir := t.TempDir()
		key := filepath.Join(dir, "key")
		if c.key != 0 {
			write(t, key, "x")
			chmod(t, key, c.key)
		}
		chmod(t, dir, c.folder)
		var said bytes.Buffer
		warnOfOpen(dir, slog.New(slog.NewTextHandler(&said, nil)))
		if got := strings.Count(said.String(), "level=WARN"); got != len(c.want) {
			t.Errorf("%o %o: got %d warnings, want %d: %s", c.folder, c.key, got, len(c.want), &said)
		}
		for _, name := range c.want {
			if !strings.Contains(said.String(), "path="+filepath.Join(dir, name)+" ") {
				t.Errorf("%o %o: no word of %q: %s", c.folder, c.key, name, &said)
			}
		}
	}
}

func chmod(t *testing.T, path string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}
