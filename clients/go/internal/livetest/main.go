// Livetest plays a worker against a live broker: TELEGATE_ADDRESS, TELEGATE_KEY, TELEGATE_POOL.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/codes"

	telegate "github.com/telegate/telegate/clients/go"
	"github.com/telegate/telegate/clients/go/telegatev1"
)

// maxSessions is the largest pool that is emptied before the test calls it endless.
const maxSessions = 64

// runTimeout bounds the whole run.
const runTimeout = time.Minute

var passed, failed int

func check(sentence string, got, wanted any) {
	if reflect.DeepEqual(got, wanted) {
		passed++
		return
	}
	failed++
	fmt.Printf("FAILED: %s: got %v, wanted %v\n", sentence, got, wanted)
}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), runTimeout)
	defer cancel()
	config := telegate.Config{
		Address: os.Getenv("TELEGATE_ADDRESS"),
		Pool:    cmp.Or(os.Getenv("TELEGATE_POOL"), "demo"),
		Key:     os.Getenv("TELEGATE_KEY"),
	}
	if err := run(ctx, config); err != nil {
		check("the run ends well", err, nil)
	}
	fmt.Printf("%d passed, %d failed\n", passed, failed)
	if failed > 0 {
		os.Exit(1)
	}
}

func run(ctx context.Context, config telegate.Config) error {
	if err := missingAndWrongKeysAreRefused(ctx, config); err != nil {
		return err
	}
	client, err := telegate.NewClient(config)
	if err != nil {
		return err
	}
	defer client.Close()
	if err := aPoolLendsEachSessionOnce(ctx, client, config.Pool); err != nil {
		return err
	}
	return anErrorClosesTheChatForItsSession(ctx, client)
}

// refusal is the error that the call must have ended with.
func refusal(err error) (*telegate.Error, error) {
	var refused *telegate.Error
	if !errors.As(err, &refused) {
		return nil, fmt.Errorf("not a telegate.Error: %v", err)
	}
	return refused, nil
}

func acquireWith(ctx context.Context, config telegate.Config, key string) (*telegate.Error, error) {
	config.Key = key
	client, err := telegate.NewClient(config)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	lease, err := client.Acquire(ctx)
	if err == nil {
		_, err = lease.Release(ctx)
		return nil, errors.Join(errors.New("a lease was granted"), err)
	}
	return refusal(err)
}

func missingAndWrongKeysAreRefused(ctx context.Context, config telegate.Config) error {
	refused, err := acquireWith(ctx, config, "")
	if err != nil {
		return err
	}
	fmt.Printf("without key: %s %s %v\n", refused.Code, refused.Reason, refused.Metadata)
	check("no key: the code", refused.Code, codes.Unauthenticated)
	check("no key: the reason", refused.Reason, "API_KEY_MISSING")
	check("no key: the header to send", refused.Metadata["header"], "x-api-key")
	check("no key: waiting does not help", refused.Retryable, false)
	check("no key: the request has an id", refused.RequestID != "", true)

	refused, err = acquireWith(ctx, config, "tg_wrong")
	if err != nil {
		return err
	}
	check("wrong key: the code", refused.Code, codes.PermissionDenied)
	check("wrong key: the reason", refused.Reason, "API_KEY_INVALID")
	return nil
}

func aPoolLendsEachSessionOnce(ctx context.Context, client *telegate.Client, pool string) error {
	before, err := client.Status(ctx)
	if err != nil {
		return err
	}
	if err := emptyThePool(ctx, client, pool, before.GetCounts().GetFree()); err != nil {
		return err
	}
	after, err := client.Status(ctx)
	if err != nil {
		return err
	}
	free := before.GetCounts().GetFree()
	check("all sessions are free again", after.GetCounts().GetFree(), free)
	return nil
}

func emptyThePool(ctx context.Context, client *telegate.Client, pool string, free uint32) error {
	var leases []*telegate.Lease
	// Also when the run fails: what is not released stays leased for the next run.
	defer func() {
		for _, lease := range leases {
			if _, err := lease.Release(context.WithoutCancel(ctx)); err != nil {
				check("released in the end", err, nil)
			}
		}
	}()
	var refused error
	for refused == nil && len(leases) < maxSessions {
		lease, err := client.Acquire(ctx, telegate.WithTTL(time.Minute))
		if refused = err; err == nil {
			leases = append(leases, lease)
		}
	}
	eachIsAnother(leases, free)
	if refused == nil {
		return fmt.Errorf("more than %d leases", maxSessions-1)
	}
	busy, err := refusal(refused)
	if err != nil {
		return err
	}
	tellsWhenToRetry(busy, pool, len(leases))
	if len(leases) == 0 {
		return errors.New("no session to lend")
	}
	return renewAndRelease(ctx, leases[0])
}

func eachIsAnother(leases []*telegate.Lease, free uint32) {
	var names []string
	distinct, ids := map[string]bool{}, map[string]bool{}
	for _, lease := range leases {
		names = append(names, lease.Session.GetName())
		distinct[lease.Session.GetName()], ids[lease.ID()] = true, true
		key := lease.Credential.GetTelegram().GetAuthKey()
		check("a credential came with it", len(key), 256)
		check("the epoch is set", lease.Epoch() > 0, true)
		printed := fmt.Sprintf("%v %+v %#v", lease, lease, lease)
		check("printing hides the lease id", strings.Contains(printed, lease.ID()), false)
	}
	fmt.Println("acquired:", strings.Join(names, ", "))
	check("none was lent twice", len(distinct), len(leases))
	check("no lease id came twice", len(ids), len(leases))
	check("every free session was lent", uint32(len(leases)), free)
}

func tellsWhenToRetry(busy *telegate.Error, pool string, leased int) {
	fmt.Printf("then: %s %s, retry after %s\n", busy.Code, busy.Reason, busy.RetryAfter)
	fmt.Printf("      %v\n", busy.Metadata)
	check("busy: the code", busy.Code, codes.ResourceExhausted)
	check("busy: the reason", busy.Reason, "POOL_BUSY")
	check("busy: the pool", busy.Metadata["pool"], pool)
	check("busy: none is free", busy.Metadata["free"], "0")
	check("busy: all are leased", busy.Metadata["leased"], strconv.Itoa(leased))
	check("busy: the soonest end is told", busy.Metadata["next_release_in"] != "", true)
	check("busy: waiting helps", busy.Retryable, true)
	inRange := 0 < busy.RetryAfter && busy.RetryAfter < 90*time.Second
	check("busy: waiting helps soon", inRange, true)
	check("busy: the request has an id", busy.RequestID != "", true)
}

func renewAndRelease(ctx context.Context, lease *telegate.Lease) error {
	before := lease.ExpireTime()
	if err := lease.Renew(ctx, 2*time.Minute); err != nil {
		return err
	}
	fmt.Printf("renewed: %v for %s\n", lease, lease.TTL())
	check("renewed: the TTL is as wished", lease.TTL(), 2*time.Minute)
	moved := lease.ExpireTime().Sub(before) > 30*time.Second
	check("renewed: the end has moved", moved, true)

	first, err := lease.Release(ctx)
	if err != nil {
		return err
	}
	second, err := lease.Release(ctx)
	if err != nil {
		return err
	}
	fmt.Printf("released: %s, again: %s\n", first.GetOutcome(), second.GetOutcome())
	check("released", first.GetOutcome(),
		telegatev1.ReleaseOutcome_RELEASE_OUTCOME_RELEASED)
	check("released twice is OK", second.GetOutcome(),
		telegatev1.ReleaseOutcome_RELEASE_OUTCOME_ALREADY_ENDED)

	lost, err := refusal(lease.Renew(ctx, 0))
	if err != nil {
		return err
	}
	check("a released lease is lost", lost.Reason, "LEASE_LOST")
	check("a lost lease is over for good", lost.Retryable, false)
	return nil
}

func anErrorClosesTheChatForItsSession(ctx context.Context, client *telegate.Client) error {
	const peer = "channel:go"
	argument := int64(30)
	answered := &telegatev1.TelegramError{
		Library: "gotd", Code: 420, Message: "SLOWMODE_WAIT_30", Type: "SLOWMODE_WAIT",
		Argument: &argument, Method: "messages.sendMessage", Peer: peer,
	}
	lease, err := client.Acquire(ctx,
		telegate.WithMethods("messages.sendMessage"), telegate.WithPeer(peer))
	if err != nil {
		return err
	}
	verdict, err := lease.Report(ctx, answered)
	if err != nil {
		return err
	}
	fmt.Printf("verdict: %s %s until %s\n",
		verdict.GetRule(), verdict.GetSubject(), verdict.GetUntil().AsTime())
	check("the rule", verdict.GetRule(), "W3")
	check("the action", verdict.GetAction(),
		telegatev1.VerdictAction_VERDICT_ACTION_COOL_DOWN)
	check("the subject", verdict.GetSubject(), peer)
	check("another session would help", verdict.GetOtherSession(),
		telegatev1.OtherSession_OTHER_SESSION_YES)
	released, err := lease.Release(ctx, telegate.WithError(answered))
	if err != nil {
		return err
	}
	check("released with an error: the verdict", released.GetVerdict().GetRule(), "W3")
	check("released with an error: the outcome", released.GetOutcome(),
		telegatev1.ReleaseOutcome_RELEASE_OUTCOME_RELEASED)

	name := lease.Session.GetName()
	_, err = client.Acquire(ctx, telegate.WithSession(name), telegate.WithPeer(peer))
	refused, err := refusal(err)
	if err != nil {
		return err
	}
	check("it cools down: the reason", refused.Reason, "POOL_FLOOD_WAIT")
	check("it cools down: waiting helps", refused.Retryable, true)
	return nil
}
