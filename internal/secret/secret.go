// Package secret reads secrets by reference: a configuration names where a
// secret is, and never holds it.
package secret

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

// Ref is a reference to a secret: env:NAME or file:PATH.
type Ref string

// errForm says what a reference looks like.
var errForm = errors.New("want a reference, env:NAME or file:PATH, not the secret itself")

// Validate says what is wrong with the reference, and never what it says: it may
// be a secret that somebody put there by mistake.
func (r Ref) Validate() error {
	if kind, rest, _ := strings.Cut(string(r), ":"); kind != "env" && kind != "file" || rest == "" {
		return errForm
	}
	return nil
}

// File is the path of a secret in a file, "" of one that is elsewhere.
func (r Ref) File() string {
	path, ok := strings.CutPrefix(string(r), "file:")
	if !ok {
		return ""
	}
	return path
}

// Read returns the secret without the white space around it. A reference to
// nothing is an error: what should be guarded by a secret is never left open.
func (r Ref) Read() (string, error) {
	if err := r.Validate(); err != nil {
		return "", err
	}
	kind, name, _ := strings.Cut(string(r), ":")
	value := os.Getenv(name)
	if kind == "file" {
		b, err := os.ReadFile(name)
		if err != nil {
			return "", fmt.Errorf("read the secret: %w", err)
		}
		value = string(b)
	}
	if value = strings.TrimSpace(value); value == "" {
		return "", fmt.Errorf("the secret %s is missing or empty", r)
	}
	return value, nil
}
