//! Waiting: who stands in line, who leaves it, and to whom a session is handed. Tables of deeds.

use super::room::play_table;

law! {
    async fn a_release_hands_the_session_to_the_first_in_line(t) {
        play_table(t, "add alice
         wait k a -> alice until 60s
         wait k b for:100s -> place 1 of 1, due 60s
         tick 1s
         wait k c for:100s -> place 2 of 2, due 59s
         collect a -> alice until 60s
         release k a -> Released handed b
         acquire k x -> busy, next in 2s by Lease
         collect b -> alice until 61s
         collect b -> alice until 61s
         tick 1s
         release k b -> Released handed c
         collect c -> alice until 62s").await;
    }

    async fn an_expiry_and_the_end_of_a_rest_hand_the_session_on(t) {
        play_table(t, "policy rest:10s
         add alice
         acquire k a ttl:5s -> alice until 5s
         wait k b for:100s -> place 1 of 1, due 5s
         tick 5s
         tend -> due 30s
         tick 29999ms
         tend -> due 0.001s
         tick 1ms
         tend -> nothing is due handed b
         collect b -> alice until 95s
         wait k c for:100s -> place 1 of 1, due 60s
         release k b -> Released
         tend -> due 10s
         tick 10s
         tend -> nothing is due handed c").await;
    }

    async fn what_is_removed_the_moment_it_is_free_goes_to_nobody(t) {
        play_table(t, "policy drain:5s
         add alice
         add bob
         acquire k a ttl:5s -> alice until 5s
         acquire k b ttl:5s -> bob until 5s
         wait k c for:100s -> place 1 of 1, due 5s
         tick 10s
         remove alice -> removed handed c
         collect c -> bob until 70s").await;
    }

    async fn a_waiter_for_what_is_not_free_blocks_nobody_and_keeps_its_place(t) {
        play_table(t, "add alice tier=a
         add bob tier=b
         acquire k a where:tier=a -> alice until 60s
         acquire k b where:tier=b -> bob until 60s
         wait k first where:tier=b for:100s -> place 1 of 1, due 60s
         wait k second for:100s -> place 2 of 2, due 60s
         wait k third session:bob for:100s -> place 3 of 3, due 60s
         release k a -> Released handed second
         release k b -> Released handed first
         collect first -> bob until 60s
         release k first -> Released handed third").await;
    }

    async fn classes_go_before_each_other_and_age(t) {
        play_table(t, "add alice
         acquire k a ttl:3600s -> alice until 3600s
         wait k low class:low for:1000s -> place 1 of 1, due 3600s
         wait k normal for:1000s -> place 2 of 2, due 3600s
         wait k high class:high for:1000s -> place 3 of 3, due 3600s
         release k a -> Released handed high
         collect high -> alice until 60s
         release k high -> Released handed normal
         collect normal -> alice until 60s
         tick 59s
         wait k later class:high for:1000s -> place 2 of 2, due 1s
         renew k normal -> until 119s
         tick 1s
         release k normal -> Released handed low").await;
    }

    async fn keys_are_served_in_turn(t) {
        play_table(t, "add alice
         acquire x a -> alice until 60s
         wait greedy g1 for:100s -> place 1 of 1, due 60s
         wait greedy g2 for:100s -> place 2 of 2, due 60s
         wait greedy g3 for:100s -> place 3 of 3, due 60s
         wait modest m1 for:100s -> place 4 of 4, due 60s
         wait modest m2 for:100s -> place 5 of 5, due 60s
         release x a -> Released handed g1
         collect g1 -> alice until 60s
         release greedy g1 -> Released handed m1
         collect m1 -> alice until 60s
         release modest m1 -> Released handed g2
         collect g2 -> alice until 60s
         release greedy g2 -> Released handed m2
         collect m2 -> alice until 60s
         release modest m2 -> Released handed g3").await;
    }

    async fn what_is_not_collected_goes_to_the_next_without_a_drain(t) {
        play_table(t, "add alice
         acquire k a -> alice until 60s
         wait k gone for:100s -> place 1 of 1, due 60s
         wait k next for:100s -> place 2 of 2, due 60s
         release k a -> Released handed gone
         tick 1999ms
         tend -> due 0.001s
         tick 1ms
         tend -> nothing is due handed next
         collect next -> alice until 62s
         collect gone -> busy, next in 60s by Lease").await;
    }

    async fn who_leaves_is_handed_nothing_and_gives_back_what_it_was_handed(t) {
        play_table(t, "add alice
         acquire k a -> alice until 60s
         wait k b for:100s -> place 1 of 1, due 60s
         wait k c for:100s -> place 2 of 2, due 60s
         wait k d for:100s -> place 3 of 3, due 60s
         leave b
         leave b
         release k a -> Released handed c
         leave c -> handed d
         collect d -> alice until 60s
         leave d
         session alice -> LEASED until 60s
         tend -> nothing is due").await;
    }

    async fn a_place_is_kept_for_a_caller_that_comes_back_with_its_request(t) {
        play_table(t, "add alice
         acquire k a -> alice until 60s
         wait k b request:r for:100s -> place 1 of 1, due 60s
         wait k c for:100s -> place 2 of 2, due 60s
         tick 1s
         leave b grace:5s
         line -> 1 k 1s 99s
         wait k b2 request:r digest:other for:100s -> RequestIdReused
         wait k b2 request:r for:100s -> place 1 of 2, due 59s
         line -> 1 k 1s 100s, 2 k 1s 99s
         release k a -> Released handed b2
         collect b2 -> alice until 61s
         wait k e request:s for:100s -> place 2 of 2, due 60s
         leave c
         leave e grace:5s
         tick 5s
         wait k f for:100s -> place 1 of 1, due 55s
         wait k e2 request:s for:100s -> place 2 of 2, due 55s").await;
    }

    async fn a_wait_that_cannot_succeed_is_refused_at_once(t) {
        play_table(t, "policy rest:50s
         wait k a -> PoolEmpty
         add alice
         wait k a where:tier=gold -> NoMatchingSession
         acquire k a -> alice until 60s
         wait k b for:1s -> place 1 of 1, due 60s
         leave b
         release k a -> Released
         wait k c for:49s -> busy, next in 50s by Rest
         wait k c for:50s -> place 1 of 1, due 50s
         invalidate alice dead -> dead
         wait k d for:100s -> PoolDepleted").await;
    }

    async fn nothing_is_handed_while_the_pool_is_paused_and_resume_serves_the_line(t) {
        play_table(t, "add alice
         add bob
         acquire k a -> alice until 60s
         acquire k b -> bob until 60s
         wait k c for:100s -> place 1 of 1, due 60s
         wait k d for:100s -> place 2 of 2, due 60s
         wait k e for:100s -> place 3 of 3, due 60s
         pause
         release k a -> Released
         release k b -> Released
         wait k f for:100s -> PoolPaused
         tend -> nothing is due
         resume -> handed c handed d
         add carol -> handed e").await;
    }

    async fn whose_time_is_over_is_handed_nothing(t) {
        play_table(t, "add alice
         acquire k a -> alice until 60s
         wait k b for:1s -> place 1 of 1, due 60s
         wait k c for:100s -> place 2 of 2, due 60s
         tick 1s
         release k a -> Released handed c").await;
    }

    async fn the_waiting_room_is_bounded(t) {
        play_table(t, "policy max_waiters:2
         add alice
         acquire k a -> alice until 60s
         wait k b for:100s -> place 1 of 1, due 60s
         wait k c for:100s -> place 2 of 2, due 60s
         wait k d for:100s -> WaitQueueFull
         wait k b again:0s for:100s -> place 1 of 2, due 60s
         leave c
         wait k d for:100s -> place 2 of 2, due 60s").await;
    }

    async fn a_session_whose_labels_change_goes_to_whom_it_suits_now(t) {
        play_table(t, "add alice tier=a
         add bob tier=b
         acquire k b where:tier=b -> bob until 60s
         wait k c where:tier=b for:100s -> place 1 of 1, due 60s
         wait k d where:tier=a,new=yes for:100s -> NoMatchingSession
         relabel bob tier=a -> LEASED
         relabel alice tier=c -> READY
         relabel alice tier=b -> READY handed c
         collect c -> alice until 60s
         acquire k e where:tier=a -> busy, next in 60s by Lease").await;
    }

    async fn a_revoked_session_goes_to_the_line_when_it_has_drained(t) {
        play_table(t, "add alice
         acquire k a -> alice until 60s
         wait k b for:100s -> place 1 of 1, due 60s
         revoke alice -> 1 revoked
         tick 29999ms
         tend -> due 0.001s
         tick 1ms
         tend -> nothing is due handed b
         collect b -> alice until 90s").await;
    }

    async fn a_revoked_session_that_need_not_drain_goes_to_the_line_at_once(t) {
        play_table(t, "policy drain:0s
         add alice
         acquire k a -> alice until 60s
         wait k b for:100s -> place 1 of 1, due 60s
         wait k c for:100s -> place 2 of 2, due 60s
         revoke alice -> 1 revoked handed b
         revoke alice -> 1 revoked handed c
         collect b -> busy, next in 2s by Lease
         collect c -> alice until 60s").await;
    }

    async fn a_restored_session_goes_to_the_line_and_a_newcomer_does_not_overtake(t) {
        play_table(t, "add alice
         add bob
         invalidate bob dead -> dead
         acquire k a -> alice until 60s
         wait k b for:100s -> place 1 of 1, due 60s
         restore bob -> READY handed b
         collect b -> bob until 60s
         tick 60s
         wait k c for:100s -> place 1 of 1, due 30s
         wait k d for:100s -> place 2 of 2, due 30s
         tick 30s
         acquire k e -> busy, next in 2s by Lease handed c handed d").await;
    }

    async fn a_newcomer_is_told_how_long_it_would_wait_by_the_pace_of_late(t) {
        play_table(t, "add alice
         estimate -> pace none, 0s
         acquire k a -> alice until 60s
         tick 10s
         estimate -> pace none, 50s
         wait k b for:100s -> place 1 of 1, due 50s
         wait k c for:100s -> place 2 of 2, due 50s
         estimate -> pace none, 150s
         tick 6s
         release k a -> Released handed b
         collect b -> alice until 76s
         estimate -> pace 6s, 12s
         tick 14s
         estimate -> pace 14s, 28s
         release k b -> Released handed c
         estimate -> pace none, 2s
         collect c -> alice until 90s
         tick 20s
         estimate -> pace none, 40s
         wait k d for:100s -> place 1 of 1, due 40s
         wait k e for:100s -> place 2 of 2, due 40s
         wait k f for:100s -> place 3 of 3, due 40s
         tick 8s
         release k c -> Released handed d
         collect d -> alice until 118s
         tick 16s
         release k d -> Released handed e
         estimate -> pace 9s, 18s
         leave f
         leave e
         invalidate alice -> dead
         estimate -> pace none, unknown").await;
    }
}
