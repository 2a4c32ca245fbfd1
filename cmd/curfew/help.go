package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

// showHelp is what a command does that only has others below it. It takes no
// arguments, so that one which is spelt wrong is said to be.
func showHelp(cmd *cobra.Command, _ []string) error { return cmd.Help() }

// helpOf wraps what shows help, for cobra shows that of the last command it knows
// and is content. A command it does not know is put where wrong points.
func helpOf(show func(*cobra.Command, []string), wrong *error) func(*cobra.Command, []string) {
	return func(cmd *cobra.Command, args []string) {
		if rest := cmd.Flags().Args(); cmd.HasAvailableSubCommands() && len(rest) > 0 {
			*wrong = unknownBelow(cmd, rest[0])
			return
		}
		show(cmd, args)
	}
}

// helpCommand is cobra's own, but that it fails for a command it does not know.
func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "help [command]",
		Short:   "Help about any command",
		Long:    "Help about any command: the same as its --help.",
		Example: "  curfew help sessions end",
		Args: func(cmd *cobra.Command, args []string) error {
			found, rest, err := cmd.Root().Find(args)
			if err == nil && len(rest) > 0 {
				err = unknownBelow(found, rest[0])
			}
			return err
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			found, _, err := cmd.Root().Find(args)
			if err != nil {
				return err
			}
			found.InitDefaultHelpFlag() // else it is not among the flags shown
			return found.Help()
		},
	}
}

func unknownBelow(cmd *cobra.Command, name string) error {
	return fmt.Errorf("unknown command %q for %q", name, cmd.CommandPath())
}
