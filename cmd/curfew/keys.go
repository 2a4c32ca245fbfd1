package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"curfew/store"
)

func keysCommand() *cobra.Command {
	keys := &cobra.Command{
		Use:   "keys",
		Short: "Make encryption keys",
		Long: `Make encryption keys. Tokens and profiles are sealed with them, in the log and on
disk, and no replica opens what another has sealed without the same keys.`,
		Example: "  curfew keys new",
		Args:    cobra.NoArgs,
		RunE:    showHelp,
	}
	keys.AddCommand(&cobra.Command{
		Use:   "new",
		Short: "Print a new Fernet key for OIDC_TOKEN_ENCRYPTION_KEY",
		Long: `Print a new Fernet key: 32 random bytes in URL-safe base64.

To change keys, put the new one before the old: the first key seals, all open.`,
		Example: "  curfew keys new\n  export OIDC_TOKEN_ENCRYPTION_KEY=\"$(curfew keys new)\"",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), store.GenerateKey())
			return err
		},
	})
	return keys
}
