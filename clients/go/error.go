package telegate

import (
	"fmt"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Error says that a call was refused or failed. Branch on Reason, never on Message.
type Error struct {
	// Code is the gRPC code, for example ResourceExhausted.
	Code codes.Code
	// Reason is a name of telegatev1.ErrorReason without its prefix, for example "POOL_BUSY".
	// It is empty when no broker answered: the connection failed or the deadline passed.
	Reason string
	// Message is for people.
	Message string
	// Retryable tells whether the broker expects waiting to help.
	Retryable bool
	// RetryAfter is how long to wait before trying again, when Retryable.
	RetryAfter time.Duration
	// Metadata is what changes from one such error to the next, for example the pool's counts.
	Metadata map[string]string
	// RequestID finds the call in the broker's log. It is empty when no broker answered.
	RequestID string

	cause error
}

// FromRPC reads the details that came with a failed call of a generated stub.
func FromRPC(err error) *Error {
	from := status.Convert(err)
	read := &Error{Code: from.Code(), Message: from.Message(), cause: err}
	for _, detail := range from.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			read.Reason = detail.GetReason()
			read.Metadata = detail.GetMetadata()
		case *errdetails.RetryInfo:
			read.Retryable = true
			read.RetryAfter = detail.GetRetryDelay().AsDuration()
		case *errdetails.RequestInfo:
			read.RequestID = detail.GetRequestId()
		}
	}
	return read
}

// Error is the reason, or else the code, and the message.
func (e *Error) Error() string {
	if e.Reason == "" {
		return fmt.Sprintf("telegate: %s: %s", e.Code, e.Message)
	}
	return fmt.Sprintf("telegate: %s: %s", e.Reason, e.Message)
}

// Unwrap is the error that the stub returned.
func (e *Error) Unwrap() error { return e.cause }
