package s3sqs

import "slices"

// policyFile is the file of the permissions that this source wants.
const policyFile = "deploy/iam/s3sqs.json"

// lost reports whether a message is no longer ours to hide: somebody else has it,
// or it is gone.
func lost(code string) bool {
	return slices.Contains([]string{"MessageNotInflight", "AWS.SimpleQueueService.MessageNotInflight", "ReceiptHandleIsInvalid"}, code)
}

// explain says which permission is missing, where that is what is wrong.
func (s *Source) explain(err error, action, resource string) error {
	return s.access.Explain(err, action, resource, policyFile)
}
