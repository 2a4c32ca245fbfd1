package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// adminClient asks a replica's admin API.
type adminClient struct {
	http    *http.Client
	base    string
	address string // as the operator wrote it
	token   string
}

// adminPatience bounds one question. A logout's answer takes CURFEW_LOGOUT_WAIT,
// which is a minute at most.
const adminPatience = 90 * time.Second

const adminHelp = `The replica is found as it was configured: by --admin-listen, CURFEW_ADMIN_LISTEN
or the file that --config names, and CURFEW_ADMIN_TOKEN or CURFEW_ADMIN_TOKEN_FILE.`

// adminFlags gives a command, and those below it, what it takes to find the
// replica, and returns what finds it once the flags have been read.
func adminFlags(cmd *cobra.Command) func() (*adminClient, error) {
	file := cmd.PersistentFlags().String("config", "", "YAML file with settings, that of serve")
	listen := cmd.PersistentFlags().String("admin-listen", "", "the replica's admin listener (CURFEW_ADMIN_LISTEN)")
	return func() (*adminClient, error) {
		from := sources{flags: map[string]string{}, env: os.LookupEnv, file: *file}
		if *listen != "" {
			from.flags["CURFEW_ADMIN_LISTEN"] = *listen
		}
		c, err := loadAdmin(from)
		if err != nil {
			return nil, err
		}
		return newAdminClient(c), nil
	}
}

// loadAdmin loads and checks no more than it takes to reach the admin listener:
// whoever may look after sessions need not have the client's secret.
func loadAdmin(from sources) (config, error) {
	var c config
	faults := new(configError)
	from.apply(adminSettings(), from.readFile(faults).settings, &c, faults)
	c.checkAdmin(faults)
	if len(faults.faults) > 0 {
		return config{}, faults
	}
	return c, nil
}

func newAdminClient(c config) *adminClient {
	network, target := dialTarget(c.adminListen)
	transport := &http.Transport{
		// Never through a proxy: the token goes along.
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, target)
		},
	}
	host := target
	if network == "unix" {
		host = "localhost"
	}
	return &adminClient{&http.Client{Transport: transport}, "http://" + host, c.adminListen, c.adminToken}
}

// dialTarget is where a listener is reached: one on all addresses, at loopback.
func dialTarget(listen string) (network, target string) {
	if path, unix := strings.CutPrefix(listen, "unix:"); unix {
		return "unix", path
	}
	host, port, err := net.SplitHostPort(listen)
	ip := net.ParseIP(host)
	switch {
	case err != nil:
		return "tcp", listen
	case ip != nil && ip.IsUnspecified() && ip.To4() == nil:
		host = net.IPv6loopback.String()
	case host == "", ip != nil && ip.IsUnspecified():
		host = "127.0.0.1"
	}
	return "tcp", net.JoinHostPort(host, port)
}

// ask sends a request and reads the answer into a value, unless that is nil.
func (c *adminClient) ask(ctx context.Context, method, path string, query url.Values, body, into any) (http.Header, error) {
	ctx, cancel := context.WithTimeout(ctx, adminPatience)
	defer cancel()
	resp, err := c.send(ctx, method, path, query, body)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if into == nil {
		return resp.Header, nil
	}
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		return nil, fmt.Errorf("answer of %s: %w", c.address, err)
	}
	return resp.Header, nil
}

// send returns an answer that is no problem. The caller closes its body.
func (c *adminClient) send(ctx context.Context, method, path string, query url.Values, body any) (*http.Response, error) {
	target := c.base + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	var content io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		content = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, target, content)
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.unreached(err)
	}
	if resp.StatusCode >= http.StatusBadRequest {
		defer resp.Body.Close()
		return nil, c.refused(resp)
	}
	return resp, nil
}

// unreached says where nobody answered, and how to look elsewhere.
func (c *adminClient) unreached(err error) error {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err // the URL is said better below
	}
	if _, dial := errors.AsType[*net.OpError](err); !dial {
		return fmt.Errorf("%s: %w", c.address, err)
	}
	return fmt.Errorf("no replica answers at %s: %w\n"+
		"Is one running there? Its admin listener is named by --admin-listen, CURFEW_ADMIN_LISTEN, or the file that --config names", c.address, err)
}

// refused reads a problem. Whatever else answers there is no replica's API.
func (c *adminClient) refused(resp *http.Response) error {
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	var problem problemError
	if kind != contentProblem || json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&problem) != nil {
		return fmt.Errorf("%s answers %s, as no replica's admin listener does", c.address, resp.Status)
	}
	if problem.Status == http.StatusUnauthorized {
		return fmt.Errorf("%w\nGive it with CURFEW_ADMIN_TOKEN, or CURFEW_ADMIN_TOKEN_FILE", &problem)
	}
	return &problem
}
