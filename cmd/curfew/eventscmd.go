package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

func eventsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "events",
		Short:   "Watch the log",
		Long:    "Watch the log.\n\n" + adminHelp,
		Example: "  curfew events tail",
		Args:    cobra.NoArgs,
		RunE:    showHelp,
	}
	cmd.AddCommand(eventsTailCommand(adminFlags(cmd)))
	return cmd
}

func eventsTailCommand(reach func() (*adminClient, error)) *cobra.Command {
	var since, subject string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "tail",
		Short: "Print the log as it grows, one event a line",
		Long: `Print the log as it grows, one JSON object a line; on a terminal, lines to read,
unless --json is given. Nothing secret or sealed is in them. Ctrl-C ends it.

Subjects are curfew.session.ID.KIND, curfew.logout.HASH and
curfew.replica.NAME.KIND; * stands for one part, > for all the rest.

` + adminHelp,
		Example: `  curfew events tail
  curfew events tail --since 0 --subject 'curfew.session.*.ended'
  curfew events tail --json | jq -r 'select(.type == "curfew.logout.received.v1") | .data.sub'`,
		Args: func(cmd *cobra.Command, args []string) error {
			return cmp.Or(checkTail(since, subject), cobra.NoArgs(cmd, args))
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := reach()
			if err != nil {
				return err
			}
			query := url.Values{}
			for name, value := range map[string]string{"since": since, "subject": subject} {
				if value != "" {
					query.Set(name, value)
				}
			}
			show := showLine
			if asJSON || !isTerminal(cmd.OutOrStdout()) {
				show = showJSON
			}
			return client.tail(cmd.Context(), query, func(data []byte) error { return show(cmd.OutOrStdout(), data) })
		},
	}
	cmd.Flags().StringVar(&since, "since", "", "begin after this position; 0 for all that the log holds (default: now)")
	cmd.Flags().StringVar(&subject, "subject", "", "only events on this subject, which may have wildcards")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON on a terminal too")
	return cmd
}

// checkTail names every flag that no replica would take: it need not be asked.
func checkTail(since, subject string) error {
	var faults []error
	if _, err := strconv.ParseUint(since, 10, 64); since != "" && err != nil {
		faults = append(faults, fmt.Errorf("--since is %q: want a position, 0 for all that the log holds", since))
	}
	if err := checkPattern(subject); err != nil {
		faults = append(faults, fmt.Errorf("--subject is %q: %w", subject, err))
	}
	return errors.Join(faults...)
}

// tail hands over the data of each event until ctx ends, which is the ordinary
// end of it.
func (c *adminClient) tail(ctx context.Context, query url.Values, show func([]byte) error) error {
	resp, err := c.send(ctx, http.MethodGet, "/v1/events", query, nil)
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	err = readStream(resp.Body, show)
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// readStream reads server-sent events as this project's replicas write them:
// one line of data each. It returns an error at the stream's end, which comes
// only when something is wrong.
func readStream(body io.Reader, show func([]byte) error) error {
	const longest = 1 << 20
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, longest)
	kind := ""
	for lines.Scan() {
		name, value, _ := bytes.Cut(lines.Bytes(), []byte(": "))
		switch string(name) {
		case "event":
			kind = string(value)
		case "data":
			if kind == "problem" {
				return problemIn(value)
			}
			if err := show(value); err != nil {
				return err
			}
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("the stream of events broke off: %w", err)
	}
	return fmt.Errorf("the stream of events broke off: %w", io.ErrUnexpectedEOF)
}

func problemIn(data []byte) error {
	problem := new(problemError)
	if err := json.Unmarshal(data, problem); err != nil {
		return fmt.Errorf("the stream of events broke off: %w", err)
	}
	return problem
}

func showJSON(out io.Writer, data []byte) error {
	_, err := fmt.Fprintf(out, "%s\n", data)
	return err
}

// shownMembers are those of an event's body that say what a person wants to
// know of it at a glance.
var shownMembers = []string{"reason", "sub", "sid", "all", "position", "replica"}

func showLine(out io.Writer, data []byte) error {
	var event eventView
	if err := json.Unmarshal(data, &event); err != nil {
		return fmt.Errorf("event: %w", err)
	}
	subject := strings.TrimPrefix(event.Subject, "curfew.")
	parts := []string{fmt.Sprintf("%s %8d  %s", event.Time.Local().Format(time.TimeOnly), event.Position, printable(subject))}
	for _, name := range shownMembers {
		if value, held := event.Data[name]; held {
			parts = append(parts, name+"="+printable(strings.Trim(string(value), `"`)))
		}
	}
	_, err := fmt.Fprintln(out, strings.Join(parts, "  "))
	return err
}
