// Package backchannel turns a logout token (OpenID Connect Back-Channel Logout
// 1.0 with errata 1) into a fact for the log, or names its flaw.
//
// Three types do it. Keys knows the OP's signing keys, for logout tokens and ID
// tokens alike. A Verifier judges the tokens of one OP for one client: go-oidc
// decides about signature, issuer and audience, and this package asks beside it
// for what go-oidc does not look at: typ, iat, the shape of the event, and JSON
// that can be read in one way only. A Handler is the endpoint that an OP posts
// to.
//
// Two kinds of trouble are kept apart everywhere. A flaw is the token's: the
// answer is 400, and sending the token again is of no use. Keys that cannot be
// had and a log that does not answer are ours: the answer is 503, nothing is
// remembered of the token, and the same token is good later.
//
// Nothing here remembers a jti. The log recognises a logout that it has, so that
// a token delivered twice is answered 200 twice and ends nothing the second time.
package backchannel
