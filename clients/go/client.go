// Package telegate leases sessions from a Telegate broker.
package telegate

import (
	"context"
	"crypto/tls"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/telegate/telegate/clients/go/telegatev1"
)

//go:generate ./generate.sh

// CallTimeout bounds a call whose context has no deadline, besides the wait that it asks for.
const CallTimeout = 10 * time.Second

// Config says which pool of which broker to use.
type Config struct {
	// Address is the broker's "host:port".
	Address string
	// Pool is the pool's name.
	Pool string
	// Key is the API key; empty for a broker that runs without keys.
	Key string
	// TLS secures the connection. Nil is plaintext, which is for loopback and for networks
	// that encrypt by themselves: the API key and the credentials travel on it.
	TLS *tls.Config
}

// Client leases sessions of one pool. It is safe for concurrent use.
type Client struct {
	pool       string
	connection *grpc.ClientConn
	stub       telegatev1.SessionPoolClient
}

// NewClient makes a client that connects lazily.
func NewClient(config Config) (*Client, error) {
	transport := insecure.NewCredentials()
	if config.TLS != nil {
		transport = credentials.NewTLS(config.TLS)
	}
	options := []grpc.DialOption{grpc.WithTransportCredentials(transport)}
	if config.Key != "" {
		options = append(options, grpc.WithPerRPCCredentials(apiKey(config.Key)))
	}
	connection, err := grpc.NewClient(config.Address, options...)
	if err != nil {
		return nil, fmt.Errorf("telegate: %w", err)
	}
	return &Client{config.Pool, connection, telegatev1.NewSessionPoolClient(connection)}, nil
}

// AcquireOption changes what Acquire asks for. Any function that sets fields of the request is
// one; those that workers need most have names here.
type AcquireOption func(*telegatev1.AcquireRequest)

// WithTTL wishes how long the lease lives; the broker clamps it to the pool's range.
func WithTTL(ttl time.Duration) AcquireOption {
	return func(request *telegatev1.AcquireRequest) { request.Ttl = milliseconds(ttl) }
}

// WithWait lets the broker hold the call until a session is free.
func WithWait(wait time.Duration) AcquireOption {
	return func(request *telegatev1.AcquireRequest) { request.Wait = milliseconds(wait) }
}

// WithSession names the only session that would do.
func WithSession(name string) AcquireOption {
	return func(request *telegatev1.AcquireRequest) { request.Session = name }
}

// WithMethods names the methods that the worker will call, for example "messages.getHistory":
// sessions that cool down for one of them are passed over.
func WithMethods(methods ...string) AcquireOption {
	return func(request *telegatev1.AcquireRequest) { request.Methods = methods }
}

// WithPeer names the chat or user that it will be about: sessions that cool down for it are passed
// over.
func WithPeer(peer string) AcquireOption {
	return func(request *telegatev1.AcquireRequest) { request.Peer = peer }
}

// WithForm chooses the form of the credential.
func WithForm(form telegatev1.CredentialForm) AcquireOption {
	return func(request *telegatev1.AcquireRequest) { request.Form = form }
}

// Acquire leases a session. It fails with an [*Error], for example with reason POOL_BUSY.
func (c *Client) Acquire(ctx context.Context, options ...AcquireOption) (*Lease, error) {
	request := &telegatev1.AcquireRequest{Pool: c.pool}
	for _, option := range options {
		option(request)
	}
	ctx, cancel := bounded(ctx, CallTimeout+request.GetWait().AsDuration())
	defer cancel()
	granted, err := c.stub.Acquire(ctx, request)
	if err != nil {
		return nil, FromRPC(err)
	}
	return newLease(c, granted), nil
}

// Status counts the pool's sessions by state.
func (c *Client) Status(ctx context.Context) (*telegatev1.PoolStatus, error) {
	ctx, cancel := bounded(ctx, CallTimeout)
	defer cancel()
	response, err := c.stub.GetPoolStatus(ctx, &telegatev1.GetPoolStatusRequest{Pool: c.pool})
	if err != nil {
		return nil, FromRPC(err)
	}
	return response.GetStatus(), nil
}

// Close closes the connection. It releases nothing.
func (c *Client) Close() error { return c.connection.Close() }

// apiKey sends the key with every call.
type apiKey string

func (k apiKey) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"x-api-key": string(k)}, nil
}

// RequireTransportSecurity leaves the choice to Config.TLS.
func (apiKey) RequireTransportSecurity() bool { return false }

func bounded(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, timeout)
}

// milliseconds drops what the broker refuses: parts of a millisecond.
func milliseconds(d time.Duration) *durationpb.Duration {
	return durationpb.New(d.Truncate(time.Millisecond))
}
