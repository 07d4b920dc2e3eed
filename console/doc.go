// Package console is the web console: server-rendered pages of live incidents,
// rules and the pipeline's health, and the same as JSON.
package console
