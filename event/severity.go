package event

import "fmt"

// Severity orders findings by how fast a person should look.
// The zero value is not a severity.
type Severity uint8

// The severities, in rising order. In JSON and YAML they are written in lower case.
const (
	Info Severity = iota + 1
	Low
	Medium
	High
	Critical
)

var severityNames = [...]string{Info: "info", Low: "low", Medium: "medium", High: "high", Critical: "critical"}

// Severities lists the names in rising order, for messages and completion.
func Severities() []string { return append([]string(nil), severityNames[1:]...) }

// ParseSeverity reads a name written as in JSON; the error lists the names.
func ParseSeverity(s string) (Severity, error) {
	for v, name := range severityNames {
		if v > 0 && name == s {
			return Severity(v), nil
		}
	}
	return 0, fmt.Errorf("unknown severity %q: want one of info, low, medium, high, critical", s)
}

// String returns the lower-case name, or "" for the zero value.
func (s Severity) String() string {
	if int(s) < len(severityNames) {
		return severityNames[s]
	}
	return fmt.Sprintf("severity(%d)", uint8(s))
}

// MarshalText writes the lower-case name.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads the lower-case name.
func (s *Severity) UnmarshalText(b []byte) error {
	v, err := ParseSeverity(string(b))
	if err != nil {
		return err
	}
	*s = v
	return nil
}
