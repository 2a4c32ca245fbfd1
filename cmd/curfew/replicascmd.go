package main

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/spf13/cobra"
)

func replicasCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "replicas",
		Short: "Show each replica, how far it is, and whether it lets people in",
		Long: `Show each replica as the one that is asked knows it: how far it has applied the
log, how far that was behind the log's end when it last spoke, and whether it may
be letting people in.

` + adminHelp,
		Example: "  curfew replicas\n  curfew replicas --json",
		Args:    cobra.NoArgs,
	}
	reach := adminFlags(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		client, err := reach()
		if err != nil {
			return err
		}
		var list replicaList
		if _, err := client.ask(cmd.Context(), http.MethodGet, "/v1/replicas", nil, nil, &list); err != nil {
			return err
		}
		if asJSON {
			return printJSON(cmd.OutOrStdout(), list)
		}
		return printReplicas(cmd.OutOrStdout(), list)
	}
	return cmd
}

func printReplicas(out io.Writer, list replicaList) error {
	rows := make([][]string, 0, len(list.Replicas))
	for _, r := range list.Replicas {
		name := printable(r.Replica)
		if r.Self {
			name += " (asked)"
		}
		lag := nothing
		if r.Fresh || r.Self {
			lag = strconv.FormatUint(uint64(r.Lag), 10)
		}
		rows = append(rows, []string{name, strconv.FormatUint(uint64(r.Position), 10), lag, r.state()})
	}
	if err := table(out, []string{"REPLICA", "POSITION", "LAG", "STATE"}, rows); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "The log ends at %d.\n", list.Last)
	return err
}

// state is whether a replica lets people in, in words.
func (r replicaView) state() string {
	switch {
	case r.Fresh:
		lease := time.Duration(r.Lease * float64(time.Second))
		return "fresh, for " + lease.Round(100*time.Millisecond).String()
	case r.Left:
		return "left"
	case r.Self:
		return "stale: lets nobody in"
	default:
		return "silent: lets nobody in"
	}
}
