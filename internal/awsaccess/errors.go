package awsaccess

import (
	"errors"
	"fmt"
	"slices"

	"github.com/aws/smithy-go"
)

// Code is AWS's name for an error, "" for one that is not AWS's.
func Code(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

// Is reports whether an AWS error has one of the codes.
func Is(err error, codes ...string) bool {
	c := Code(err)
	return c != "" && slices.Contains(codes, c)
}

// Denied reports whether somebody has to give a permission, or credentials,
// before the same call can succeed.
func Denied(err error) bool {
	return Is(err, "AccessDenied", "AccessDeniedException", "AllAccessDisabled", "Forbidden", "UnauthorizedOperation", "KMSAccessDeniedException", "KmsAccessDenied",
		"InvalidAccessKeyId", "InvalidClientTokenId", "SignatureDoesNotMatch", "UnrecognizedClientException",
		"KMS.DisabledException", "KMS.NotFoundException", "KMS.KMSInvalidStateException")
}

// Assuming reports whether an error came from assuming a role.
func Assuming(err error) bool {
	var op *smithy.OperationError
	for errors.As(err, &op) {
		if op.Service() == "STS" && op.Operation() == "AssumeRole" {
			return true
		}
		err = op.Unwrap()
	}
	return false
}

// Explain says of a refused call which permission is missing and where to give
// it: what was called, on what, and the policy in deploy/iam that has it. Any
// other error is returned as it is.
func (a *Access) Explain(err error, action, resource, policy string) error {
	switch {
	case !Denied(err):
		return err
	case Assuming(err):
		return fmt.Errorf("the role %s cannot be assumed: allow sts:AssumeRole on it, and trust riposte's identity (and external_id) in its trust policy: %w", a.c.Role, err)
	case Is(err, "InvalidAccessKeyId", "InvalidClientTokenId", "SignatureDoesNotMatch", "UnrecognizedClientException"):
		return fmt.Errorf("%s: AWS does not know these credentials: %w", action, err)
	}
	return fmt.Errorf("%s is not allowed: allow it on %s, see %s: %w", action, resource, policy, err)
}
