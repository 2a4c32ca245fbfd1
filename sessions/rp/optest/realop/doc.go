// Package realop gives tests an OpenID Provider to talk to, and a browser to do
// it with: Start runs the certified oidc-provider of npm, Serve the small one of
// package optest. Browser signs in at either through its real forms.
package realop
