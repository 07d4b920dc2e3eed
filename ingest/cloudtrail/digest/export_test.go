package digest

// ParseSidecar is what a Folder reads beside a digest.
var ParseSidecar = parseSidecar
