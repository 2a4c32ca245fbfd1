package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"curfew/sessions"
	"curfew/sessions/rp"
)

func sessionsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "sessions",
		Short: "List, show and end sessions",
		Long:  "List, show and end sessions, on every replica.\n\n" + adminHelp,
		Example: `  curfew sessions list
  curfew sessions end --sub 248289761001`,
		Args: cobra.NoArgs,
		RunE: showHelp,
	}
	reach := adminFlags(cmd)
	cmd.AddCommand(sessionsListCommand(reach), sessionsShowCommand(reach), sessionsEndCommand(reach))
	return cmd
}

func sessionsListCommand(reach func() (*adminClient, error)) *cobra.Command {
	var sub, sid string
	var limit int
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List sessions, the oldest first",
		Long: `List sessions, the oldest first. Those that are over are among them for as long
as they are remembered, with what ended them.

` + adminHelp,
		Example: `  curfew sessions list
  curfew sessions list --sub 248289761001
  curfew sessions list --limit 0 --json`,
		Args: func(cmd *cobra.Command, args []string) error {
			if limit < 0 {
				return errors.New("--limit is less than 0")
			}
			return cobra.NoArgs(cmd, args)
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := reach()
			if err != nil {
				return err
			}
			page, err := client.list(cmd.Context(), url.Values{"sub": {sub}, "sid": {sid}}, limit)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), page)
			}
			return printSessions(cmd.OutOrStdout(), cmd.ErrOrStderr(), page)
		},
	}
	cmd.Flags().StringVar(&sub, "sub", "", "only those of this user, by the provider's id")
	cmd.Flags().StringVar(&sid, "sid", "", "only those of this session at the provider")
	cmd.Flags().IntVar(&limit, "limit", defaultPage, "how many at most; 0 for all")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// list asks for as many pages as it takes.
func (c *adminClient) list(ctx context.Context, query url.Values, limit int) (sessionPage, error) {
	all := sessionPage{Sessions: []sessionView{}}
	for {
		want := maxPage
		if limit > 0 {
			want = min(maxPage, limit-len(all.Sessions))
		}
		query.Set("limit", strconv.Itoa(want))
		var page sessionPage
		if _, err := c.ask(ctx, http.MethodGet, "/v1/sessions", query, nil, &page); err != nil {
			return all, err
		}
		all.Sessions = append(all.Sessions, page.Sessions...)
		all.Next, all.Behind = page.Next, all.Behind || page.Behind
		if page.Next == nil || limit > 0 && len(all.Sessions) >= limit {
			return all, nil
		}
		query.Set("after", page.Next.String())
	}
}

func printSessions(out, notes io.Writer, page sessionPage) error {
	now := timeOfDay()
	rows := make([][]string, 0, len(page.Sessions))
	for _, s := range page.Sessions {
		rows = append(rows, []string{
			s.Session.String(), printable(s.Username), shortTime(s.Started, now), shortTime(s.Seen, now),
			shortTime(s.Expires, now), s.state(now), printable(s.Client.Address),
		})
	}
	if err := table(out, []string{"SESSION", "USER", "STARTED", "SEEN", "EXPIRES", "STATE", "FROM"}, rows); err != nil {
		return err
	}
	if page.Next != nil {
		fmt.Fprintln(notes, "There are more: --limit 0 lists all.")
	}
	if page.Behind {
		fmt.Fprintln(notes, "The replica is behind the log: sessions may be missing, and ends. `curfew replicas` says how far.")
	}
	return nil
}

// state is whether a session stands, in words.
func (s sessionView) state(now time.Time) string {
	if s.Reason == "" {
		return "alive"
	}
	return "ended " + shortTime(s.Ended, now) + ", " + string(s.Reason)
}

func sessionsShowCommand(reach func() (*adminClient, error)) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "show ID",
		Short:   "Show one session",
		Long:    "Show one session.\n\n" + adminHelp,
		Example: "  curfew sessions show 01890a5d-ac96-774b-bcce-b302a99a8057",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := reach()
			if err != nil {
				return err
			}
			var view sessionView
			if _, err := client.ask(cmd.Context(), http.MethodGet, sessionPath(args[0]), nil, nil, &view); err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), view)
			}
			return printSession(cmd.OutOrStdout(), view)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func sessionPath(id string) string { return "/v1/sessions/" + url.PathEscape(id) }

func printSession(out io.Writer, s sessionView) error {
	full := func(at time.Time) string { return at.Local().Format("2006-01-02 15:04:05 MST") }
	rows := [][]string{
		{"user", printable(s.Username)}, {"e-mail", printable(s.Email)}, {"issuer", printable(s.Issuer)},
		{"sub", printable(s.Sub)}, {"sid", printable(s.Sid)},
		{"started", full(s.Started)}, {"seen", full(s.Seen)}, {"expires", full(s.Expires)},
	}
	if s.Reason != "" {
		rows = append(rows, []string{"ended", full(s.Ended)}, []string{"reason", string(s.Reason)})
	}
	rows = append(rows, []string{"from", printable(s.Client.Address)}, []string{"browser", printable(s.Client.UserAgent)})
	return table(out, []string{"session", s.Session.String()}, rows)
}

func sessionsEndCommand(reach func() (*adminClient, error)) *cobra.Command {
	var asked logoutRequest
	cmd := &cobra.Command{
		Use:   "end [ID]",
		Short: "End a session, a user's sessions, or all",
		Long: `End sessions on every replica: the one with an id, those of a user (--sub) or of
a session at the provider (--sid), or all there are. Logins that are under way
are covered too, except by an id. The provider's own session goes on.

` + adminHelp,
		Example: `  curfew sessions end 01890a5d-ac96-774b-bcce-b302a99a8057
  curfew sessions end --sub 248289761001
  curfew sessions end --sid 08a5019c-17e1-4977-8f42-65a12843ea02
  curfew sessions end --all`,
		Args: func(_ *cobra.Command, args []string) error { return checkEnd(args, asked) },
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := reach()
			if err != nil {
				return err
			}
			var header http.Header
			if len(args) == 1 {
				header, err = client.ask(cmd.Context(), http.MethodDelete, sessionPath(args[0]), nil, nil, nil)
			} else {
				header, err = client.ask(cmd.Context(), http.MethodPost, "/v1/logouts", nil, asked, nil)
			}
			if err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), fenceText(header.Get(rp.HeaderFence)))
			return nil
		},
	}
	cmd.Flags().StringVar(&asked.Sub, "sub", "", "end those of this user, by the provider's id")
	cmd.Flags().StringVar(&asked.Sid, "sid", "", "end those of this session at the provider")
	cmd.Flags().StringVar(&asked.Issuer, "issuer", "", "whose --sub, --sid or --all is; needed where there are several providers")
	cmd.Flags().BoolVar(&asked.All, "all", false, "end all sessions of all users of a provider")
	return cmd
}

// checkEnd wants it said plainly whose sessions are to end.
func checkEnd(args []string, asked logoutRequest) error {
	named := asked.Sub != "" || asked.Sid != ""
	ways := 0
	for _, way := range []bool{len(args) > 0, named, asked.All} {
		if way {
			ways++
		}
	}
	if len(args) == 1 && asked.Issuer != "" {
		return errors.New("--issuer does not go with an id")
	}
	if ways != 1 || len(args) > 1 || len(args) == 1 && args[0] == "" {
		return errors.New("name one: a session's id, --sub or --sid or both, or --all")
	}
	return nil
}

// fenceText says how far the end has got.
func fenceText(fence string) string {
	if fence == sessions.Complete.String() {
		return "ended: no replica lets it pass any more"
	}
	return "ended: a replica has yet to confirm it; it is over when that one's lease is, after CURFEW_MAX_STALENESS"
}
