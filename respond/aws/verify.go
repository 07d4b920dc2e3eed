package aws

import (
	"context"
	"fmt"
	"strings"
	"time"

	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/smithy-go/middleware"

	"riposte/respond"
)

// looks are the pauses between the reads of a verification: AWS shows a write
// late, and for a while sometimes shows it and sometimes not.
var looks = []time.Duration{0, time.Second, time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 8 * time.Second, 8 * time.Second}

// verify looks until the effect shows twice in a row: effective. When the time
// is up and it did not show in the last two looks it is not effective; anything
// else is unknown.
func (c *Clients) verify(ctx context.Context, look func(ctx context.Context) (respond.Outcome, error)) (respond.Outcome, error) {
	last := respond.Unknown
	var lastErr error
	for i, pause := range looks {
		if i > 0 {
			if err := c.sleep(ctx, pause); err != nil {
				return respond.Unknown, err
			}
		}
		seen, err := look(ctx)
		if ctx.Err() != nil {
			return respond.Unknown, ctx.Err()
		}
		if err != nil {
			seen = respond.Unknown
		}
		if seen == respond.Effective && last == respond.Effective {
			return seen, nil
		}
		if i == len(looks)-1 && seen == respond.NotEffective && last == respond.NotEffective {
			return seen, nil
		}
		last, lastErr = seen, err
	}
	return respond.Unknown, lastErr
}

// shows turns a look's yes or no into an outcome.
func shows(yes bool, err error) (respond.Outcome, error) {
	switch {
	case err != nil:
		return respond.Unknown, err
	case yes:
		return respond.Effective, nil
	}
	return respond.NotEffective, nil
}

// deniedError says which permission a call lacked: AWS's own message often does not.
type deniedError struct {
	permission string
	err        error
}

func (e *deniedError) Error() string {
	return fmt.Sprintf("it is not allowed, the role wants %s: %v", e.permission, e.err)
}

func (e *deniedError) Unwrap() error { return e.err }

// namePermission adds to every refused call the permission that it wants.
func namePermission(stack *middleware.Stack) error {
	return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("riposte.NamePermission",
		func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
			out, meta, err := next.HandleInitialize(ctx, in)
			if denied(err) {
				err = &deniedError{permission(awsmiddleware.GetServiceID(ctx), awsmiddleware.GetOperationName(ctx)), err}
			}
			return out, meta, err
		}), middleware.After)
}

func denied(err error) bool {
	return is(err, "AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "UnauthorizedAccess", "AuthorizationError")
}

// permission is the IAM action that an API operation wants.
func permission(service, operation string) string {
	switch service {
	case "S3":
		if strings.HasSuffix(operation, "PublicAccessBlock") {
			operation = strings.Replace(strings.Replace(operation, "Delete", "Put", 1), "Public", "BucketPublic", 1)
		}
		return "s3:" + operation
	case "S3 Control":
		return "s3:" + strings.Replace(strings.Replace(operation, "Delete", "Put", 1), "Public", "AccountPublic", 1)
	}
	return strings.ToLower(service) + ":" + operation
}
