package awsfake

// PublicKey is a key of CloudTrail's: Value is PKCS#1 in DER.
type PublicKey struct {
	Fingerprint string `json:"fingerprint"`
	Value       []byte `json:"value"`
}

// listPublicKeys gives all keys of the region, whatever time is asked for.
func (s *Server) listPublicKeys(w *World, req *request) (any, error) {
	if err := s.permitted(req, "cloudtrail:ListPublicKeys", "*"); err != nil {
		return nil, err
	}
	list := []map[string]any{}
	for _, k := range w.PublicKeys[req.region] {
		list = append(list, map[string]any{"Fingerprint": k.Fingerprint, "Value": k.Value})
	}
	return map[string]any{"PublicKeyList": list}, nil
}

// bucketLocation is the one of s3 that asks for permission first.
func (s *Server) bucketLocation(w *World, req *request) (any, error) {
	if err := s.permitted(req, "s3:GetBucketLocation", "arn:aws:s3:::"+req.path[0]); err != nil {
		return nil, err
	}
	return s3["GetBucketLocation"](w, req)
}
