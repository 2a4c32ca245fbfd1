// Package rp is the relying party: it signs a user in and out at the OP.
//
// Signing in is OpenID Connect's authorization code flow with PKCE. What a
// replica must remember between sending a browser to the OP and having it back
// travels with the browser, sealed, so that any replica finishes what another
// began. It includes how far the log had come when the login began: a logout
// that reaches the log after that covers the login, however long it stays at
// the OP, and none before it does.
//
// A session is there once its start is in the log, and its cookie is handed out
// only after this replica has applied the log that far and found the session
// alive.
//
// Not checked here: email_verified, acr and amr, which an application that
// cares for them must have the OP enforce.
package rp
