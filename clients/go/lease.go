package telegate

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/telegate/telegate/clients/go/telegatev1"
)

// Lease is the exclusive right to one session until ExpireTime. Nothing renews it by itself.
// Printing it shows no secret. It is safe for concurrent use.
type Lease struct {
	// Session is what was lent, with its running cool-downs, proxy and device profile.
	Session *telegatev1.Session
	// Credential is the secret, in the form that was asked for.
	Credential *telegatev1.Credential

	client *Client
	lease  atomic.Pointer[telegatev1.Lease]
}

func newLease(client *Client, granted *telegatev1.AcquireResponse) *Lease {
	lease := &Lease{
		Session:    granted.GetSession(),
		Credential: granted.GetCredential(),
		client:     client,
	}
	lease.lease.Store(granted.GetLease())
	return lease
}

// ID is the lease's secret name. Never log it.
func (l *Lease) ID() string { return l.lease.Load().GetLeaseId() }

// Epoch is the fencing number: it rises with every lease of the session.
func (l *Lease) Epoch() uint64 { return l.lease.Load().GetEpoch() }

// TTL is what was granted; where clocks may differ, count it from before the call.
func (l *Lease) TTL() time.Duration { return l.lease.Load().GetTtl().AsDuration() }

// ExpireTime is when the lease ends unless it is renewed, by the broker's clock.
func (l *Lease) ExpireTime() time.Time { return l.lease.Load().GetExpireTime().AsTime() }

// Renew extends the lease, counted from now; a zero TTL is the pool's default. It fails with
// reason LEASE_LOST when the lease is over.
func (l *Lease) Renew(ctx context.Context, ttl time.Duration) error {
	ctx, cancel := bounded(ctx, CallTimeout)
	defer cancel()
	request := &telegatev1.RenewRequest{LeaseId: l.ID(), Ttl: milliseconds(ttl)}
	response, err := l.client.stub.Renew(ctx, request)
	if err != nil {
		return FromRPC(err)
	}
	l.lease.Store(response.GetLease())
	return nil
}

// Report tells the broker what Telegram answered, and learns what to do.
func (l *Lease) Report(
	ctx context.Context, answered *telegatev1.TelegramError,
) (*telegatev1.Verdict, error) {
	ctx, cancel := bounded(ctx, CallTimeout)
	defer cancel()
	request := &telegatev1.ReportRequest{LeaseId: l.ID(), Error: answered}
	response, err := l.client.stub.Report(ctx, request)
	if err != nil {
		return nil, FromRPC(err)
	}
	return response.GetVerdict(), nil
}

// WithError reports the error that ended the work in the same step; the response then has the
// verdict.
func WithError(answered *telegatev1.TelegramError) ReleaseOption {
	return func(request *telegatev1.ReleaseRequest) { request.Error = answered }
}

// ReleaseOption adds a rest, or the error that ended the work, to a Release.
type ReleaseOption func(*telegatev1.ReleaseRequest)

// Release gives the session back; disconnect from Telegram before. Twice is OK: the outcome then
// says that the lease had ended. When ctx may be cancelled by then, pass
// [context.WithoutCancel].
func (l *Lease) Release(
	ctx context.Context, options ...ReleaseOption,
) (*telegatev1.ReleaseResponse, error) {
	ctx, cancel := bounded(ctx, CallTimeout)
	defer cancel()
	request := &telegatev1.ReleaseRequest{LeaseId: l.ID()}
	for _, option := range options {
		option(request)
	}
	response, err := l.client.stub.Release(ctx, request)
	if err != nil {
		return nil, FromRPC(err)
	}
	return response, nil
}

// String names the session and hides the rest.
func (l *Lease) String() string {
	return fmt.Sprintf("lease of %s/%s, epoch %d",
		l.Session.GetPool(), l.Session.GetName(), l.Epoch())
}

// GoString is String, so that %#v shows no secret either.
func (l *Lease) GoString() string { return l.String() }
