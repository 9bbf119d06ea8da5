package dev.telegate;

import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.Message;
import com.google.protobuf.util.Durations;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RequestInfo;
import com.google.rpc.RetryInfo;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import java.time.Duration;
import java.util.Map;
import java.util.Optional;

/** A call was refused or failed. Branch on {@link #reason()}, never on the message. */
public final class TelegateException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    private final Status.Code code;
    private final String reason;
    private final Duration retryAfter;
    private final Map<String, String> metadata;
    private final String requestId;

    private TelegateException(
            StatusRuntimeException cause, ErrorInfo info, Duration retryAfter, String requestId) {
        super(message(cause.getStatus(), info), cause);
        this.code = cause.getStatus().getCode();
        this.reason = info.getReason();
        this.retryAfter = retryAfter;
        this.metadata = Map.copyOf(info.getMetadataMap());
        this.requestId = requestId;
    }

    /** Reads the details that came with a failed call of a generated stub. */
    public static TelegateException from(StatusRuntimeException error) {
        com.google.rpc.Status status = StatusProto.fromThrowable(error);
        if (status == null) {
            status = com.google.rpc.Status.getDefaultInstance();
        }
        ErrorInfo info = detail(status, ErrorInfo.class).orElse(ErrorInfo.getDefaultInstance());
        Duration retryAfter = detail(status, RetryInfo.class)
                .map(retry -> Duration.ofNanos(Durations.toNanos(retry.getRetryDelay())))
                .orElse(null);
        String requestId =
                detail(status, RequestInfo.class).map(RequestInfo::getRequestId).orElse("");
        return new TelegateException(error, info, retryAfter, requestId);
    }

    /** The gRPC code, for example RESOURCE_EXHAUSTED. */
    public Status.Code code() {
        return code;
    }

    /**
     * A name of {@link dev.telegate.v1.ErrorReason} without its prefix, for example "POOL_BUSY".
     * Empty when no broker answered: the connection failed or the deadline passed.
     */
    public String reason() {
        return reason;
    }

    /** How long to wait before trying again. Empty: the broker does not expect it to help. */
    public Optional<Duration> retryAfter() {
        return Optional.ofNullable(retryAfter);
    }

    /** What changes from one such error to the next, for example the pool's counts. */
    public Map<String, String> metadata() {
        return metadata;
    }

    /** Finds the call in the broker's log. Empty when no broker answered. */
    public String requestId() {
        return requestId;
    }

    private static String message(Status status, ErrorInfo info) {
        String reason = info.getReason();
        String head = reason.isEmpty() ? status.getCode().name() : reason;
        return head + ": " + status.getDescription();
    }

    private static <D extends Message> Optional<D> detail(
            com.google.rpc.Status status, Class<D> kind) {
        for (Any packed : status.getDetailsList()) {
            if (packed.is(kind)) {
                try {
                    return Optional.of(packed.unpack(kind));
                } catch (InvalidProtocolBufferException broken) {
                    // An unreadable detail must not hide the error that it was to explain.
                    return Optional.empty();
                }
            }
        }
        return Optional.empty();
    }
}
