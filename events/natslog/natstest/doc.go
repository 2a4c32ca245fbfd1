// Package natstest runs a cluster of NATS servers with JetStream in this
// process, for tests: nodes stop and come back, any two of them are cut apart,
// and all that they hold is lost, on demand.
package natstest
