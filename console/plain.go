package console

import (
	"bytes"
	"fmt"
	"unicode"
	"unicode/utf8"
)

// plain writes b with the characters that do something instead of being
// something as \u202e and the like: controls, direction marks, zero-width
// letters, tags. Lines and tabs stay. The result is as valid as HTML and as JSON
// as b was, because neither needs such characters outside of strings.
func plain(b []byte) []byte {
	i := 0
	for i < len(b) {
		r, n := utf8.DecodeRune(b[i:])
		if acts(r, n) {
			break
		}
		i += n
	}
	if i == len(b) {
		return b
	}
	out := bytes.NewBuffer(make([]byte, 0, len(b)+64))
	out.Write(b[:i])
	for i < len(b) {
		r, n := utf8.DecodeRune(b[i:])
		switch {
		case !acts(r, n):
			out.Write(b[i : i+n])
		case r > 0xffff:
			r -= 0x10000
			fmt.Fprintf(out, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		default:
			fmt.Fprintf(out, `\u%04x`, r)
		}
		i += n
	}
	return out.Bytes()
}

// acts reports whether the rune, n bytes long, is not to be shown as it is.
func acts(r rune, n int) bool {
	if r < 0x7f {
		return r < ' ' && r != '\n' && r != '\t'
	}
	return r == utf8.RuneError && n == 1 || unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp)
}
