// Package optest is a small OpenID Provider: a real one, to be signed in at by
// a browser and to send back-channel logouts, for tests and for curfew's demo.
//
// It speaks OpenID Connect Core 1.0 (code flow with PKCE, and nothing else),
// Discovery 1.0, RP-Initiated Logout 1.0, Back-Channel Logout 1.0 and RFC 9207.
// It is strict, so that a relying party that is wrong is told so: redirect URIs
// match byte for byte, PKCE is required, a code is good once, and a refresh
// token used twice takes its whole grant with it.
//
// It is no provider for real users. It knows passwords in clear, keeps all it
// knows in memory until the process ends, and limits nobody's tries.
package optest
