package policytest

import "testing"

func TestMatches(t *testing.T) {
	for _, c := range []struct {
		pattern, text string
		want          bool
	}{
		{"*", "anything", true}, {"arn:aws:s3:::logs", "arn:aws:s3:::logs", true}, {"arn:aws:s3:::logs", "arn:aws:s3:::logs/a", false},
		{"arn:aws:s3:::logs/*", "arn:aws:s3:::logs/a/b", true}, {"arn:aws:s3:::logs/*", "arn:aws:s3:::logs", false}, {"a*c*e", "abcde", true}, {"a*c*e", "abde", false},
	} {
		if got := matches(c.pattern, c.text); got != c.want {
			t.Errorf("%s matches %s: %v", c.pattern, c.text, got)
		}
	}
}
