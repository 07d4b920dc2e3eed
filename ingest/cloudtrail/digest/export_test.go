package digest

// ParseSidecar is what a Folder reads beside a digest.
var ParseSidecar = parseSidecar

// PlaceOf is what a key says, as far as tests ask.
func PlaceOf(key string) (known, account, region, trail string, ok bool) {
	p, ok := placeOf(key)
	return p.known, p.account, p.region, p.trail, ok
}
