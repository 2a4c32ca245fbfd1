package main

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// needs wants a real proxy. Without it the test is skipped, or fails where
// CI=true.
func needs(t *testing.T, program string) {
	t.Helper()
	t.Setenv("PATH", os.Getenv("PATH")+":/usr/sbin") // where nginx is, and not every user looks
	if _, err := exec.LookPath(program); err == nil {
		return
	}
	what := "NOT TESTED: " + program + " is not installed: install it to test its files in deploy"
	if os.Getenv("CI") == "true" {
		t.Fatal(what)
	}
	t.Skip(what)
}

// shipped is a file of deploy/ in which addresses and paths are replaced, and
// nothing else. Each must be there.
func shipped(t *testing.T, name string, replace ...string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("..", "..", "deploy", name))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(replace); i += 2 {
		if !strings.Contains(string(content), replace[i]) {
			t.Fatalf("%s does not hold %q", name, replace[i])
		}
	}
	return strings.NewReplacer(replace...).Replace(string(content))
}

var choice = regexp.MustCompile(`(?m)^(\s*)#(\S)`)

// allChosen takes the # away from each line that is a choice.
func allChosen(text string) string { return choice.ReplaceAllString(text, "$1$2") }

// proxyFolder is one that a proxy may read and write, whoever it runs as.
func proxyFolder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for folder, mode := range map[string]os.FileMode{filepath.Dir(dir): 0o755, dir: 0o777} {
		if err := os.Chmod(folder, mode); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// startProxy runs a proxy, as nobody if this is root, and waits until it listens.
func (g *guarded) startProxy(env []string, command ...string) {
	g.t.Helper()
	if _, err := exec.LookPath("setpriv"); err == nil && os.Getuid() == 0 {
		command = append([]string{"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs"}, command...)
	}
	g.held.Close()
	p := startProcess(g.t, env, command[0], command[1:]...)
	eventually(g.t, "the proxy listens", func() bool {
		select {
		case <-p.ended:
			g.t.Fatal("the proxy ended")
		default:
		}
		conn, err := net.Dial("tcp", g.host())
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
}

// nginxMain stands for a distribution's nginx.conf. One process does all, so that
// none is left behind.
const nginxMain = `
daemon off;
master_process off;
pid DIR/nginx.pid;
error_log stderr notice;
events {}
http {
    access_log off;
    client_body_temp_path DIR/body;
    proxy_temp_path DIR/proxy;
    fastcgi_temp_path DIR/fastcgi;
    uwsgi_temp_path DIR/uwsgi;
    scgi_temp_path DIR/scgi;
    include conf.d/*.conf;
}
`

// nginx runs the files in deploy/nginx, edited by edit.
func (g *guarded) nginx(edit func(string) string, replace ...string) {
	g.t.Helper()
	dir := proxyFolder(g.t)
	cert, key := g.certificate(dir)
	replace = append(replace, "127.0.0.1:8000", g.app.Listener.Addr().String(), "listen 443 ssl", "listen "+g.host()+" ssl",
		"/etc/ssl/certs/app.example.com.pem", cert, "/etc/ssl/private/app.example.com.key", key)
	g.write(filepath.Join(dir, "nginx.conf"), strings.ReplaceAll(nginxMain, "DIR", dir))
	g.write(filepath.Join(dir, "conf.d", "curfew.conf"), edit(shipped(g.t, "nginx/curfew.conf", replace...)))
	for _, name := range []string{"server", "question", "headers"} {
		g.write(filepath.Join(dir, "curfew", name+".conf"), edit(shipped(g.t, "nginx/curfew/"+name+".conf")))
	}
	g.startProxy(nil, "nginx", "-e", "stderr", "-c", filepath.Join(dir, "nginx.conf"))
}

func asShipped(text string) string { return text }

// caddy runs deploy/caddy. Plain HTTP is what its name without https:// means
// here; the block in front of it keeps Caddy from listening anywhere else.
func (g *guarded) caddy(edit func(string) string, replace ...string) {
	g.t.Helper()
	dir := proxyFolder(g.t)
	replace = append(replace, "app.example.com {", g.url+" {", "127.0.0.1:8000", g.app.Listener.Addr().String())
	name := filepath.Join(dir, "Caddyfile")
	g.write(name, "{\n\tadmin off\n}\n"+edit(shipped(g.t, "caddy/Caddyfile", replace...)))
	g.startProxy([]string{"HOME=" + dir, "XDG_DATA_HOME=" + dir, "XDG_CONFIG_HOME=" + dir}, "caddy", "run", "--config", name)
}

// envoy runs deploy/envoy.
func (g *guarded) envoy() {
	g.t.Helper()
	dir := proxyFolder(g.t)
	cert, key := g.certificate(dir)
	_, port, _ := strings.Cut(g.host(), ":")
	_, appPort, _ := strings.Cut(g.app.Listener.Addr().String(), ":")
	_, wayPort, _ := strings.Cut(g.way.Addr().String(), ":")
	name := filepath.Join(dir, "envoy.yaml")
	g.write(name, shipped(g.t, "envoy/envoy.yaml",
		"address: 0.0.0.0, port_value: 443", "address: 127.0.0.1, port_value: "+port,
		`domains: ["app.example.com"]`, `domains: ["`+g.host()+`"]`, "port_value: 4180", "port_value: "+wayPort,
		"port_value: 8000", "port_value: "+appPort,
		"/etc/ssl/certs/app.example.com.pem", cert, "/etc/ssl/private/app.example.com.key", key))
	g.startProxy(nil, "envoy", "--disable-hot-restart", "--concurrency", "1", "-l", "warning", "-c", name)
}
