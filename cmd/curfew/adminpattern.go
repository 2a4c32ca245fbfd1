package main

import (
	"errors"
	"strings"

	"curfew/events"
)

var (
	errPatternToken = errors.New("a part of it is empty, or no part of a subject: * stands for one part, > for all the rest")
	errPatternRoot  = errors.New("the log has only curfew.session.>, curfew.logout.> and curfew.replica.>")
)

// checkPattern refuses a subject that nothing in the log can match; the empty
// one stands for all.
func checkPattern(pattern string) error {
	if pattern == "" {
		return nil
	}
	parts := strings.Split(pattern, ".")
	for i, part := range parts {
		wild := strings.ContainsAny(part, "*>")
		if part == "" || strings.ContainsAny(part, " \t\r\n") || wild && len(part) > 1 || part == ">" && i < len(parts)-1 {
			return errPatternToken
		}
	}
	for _, root := range []string{events.SubjectSessions, events.SubjectLogouts, events.SubjectReplicas} {
		if meets(parts, strings.Split(root, ".")[:2]) {
			return nil
		}
	}
	return errPatternRoot
}

// meets reports whether a pattern's beginning matches a subject's.
func meets(pattern, subject []string) bool {
	for i, part := range subject {
		switch {
		case i >= len(pattern):
			return false
		case pattern[i] == ">":
			return true
		case pattern[i] != "*" && pattern[i] != part:
			return false
		}
	}
	return true
}

// matches reports whether a subject is one of a pattern's, as NATS has it.
func matches(pattern, subject string) bool {
	if pattern == "" {
		return true
	}
	parts, against := strings.Split(pattern, "."), strings.Split(subject, ".")
	open := parts[len(parts)-1] == ">" && len(against) >= len(parts)
	return meets(parts, against) && (open || len(parts) == len(against))
}
