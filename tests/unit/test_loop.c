/* test_loop.c - work crosses to a worker and back exactly once; the queue is bounded; what is deferred runs
 * after what is ready. */
#include <portolan/loop.h>
#include <setjmp.h>
#include <stdio.h>
#include <pthread.h>
#include <cmocka.h>

struct item {
    struct ptl_work work;
    struct ptl_loop *loop;
    pthread_t ran_on;
    int *done, want;
};

static void run(struct ptl_work *w)
{
    struct item *i = (struct item *)w;
    i->ran_on = pthread_self();
    w->result = -EIO;
}

static void done(struct ptl_work *w)
{
    struct item *i = (struct item *)w;
    assert_int_equal(w->result, -EIO);
    assert_false(pthread_equal(i->ran_on, pthread_self()));
    if (++*i->done == i->want)
        ptl_loop_stop(i->loop);
}

static void work_comes_back_once(void **state PTL_UNUSED)
{
    struct ptl_loop *loop = ptl_loop_new(4, 1000);
    assert_non_null(loop);
    enum { N = 500 };
    static struct item items[N];
    int count = 0;
    for (int i = 0; i < N; i++) {
        items[i] = (struct item){
            .work = {.run = run, .done = done},
              .loop = loop, .done = &count, .want = N
        };
        assert_int_equal(ptl_loop_submit(loop, &items[i].work), 0);
    }
    ptl_loop_run(loop);
    assert_int_equal(count, N);
    ptl_loop_free(loop);
}

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static int cancelled_count;
static void run_gated(struct ptl_work *w)
{
    pthread_mutex_lock(&gate);
    pthread_mutex_unlock(&gate);
    w->result = 0;
}
static void count_done(struct ptl_work *w)
{
    if (w->result == -ECANCELED)
        cancelled_count++;
}

static void *open_gate_when_closing(void *arg)
{
    (void)arg;
    pthread_mutex_unlock(&gate);
    return NULL;
}

static void queue_is_bounded_and_shutdown_answers(void **state PTL_UNUSED)
{
    struct ptl_loop *loop = ptl_loop_new(1, 2);
    pthread_mutex_lock(&gate);
    struct ptl_work w[4] = {0};
    for (int i = 0; i < 4; i++) {
        w[i].run = run_gated;
        w[i].done = count_done;
    }
    assert_int_equal(ptl_loop_submit(loop, &w[0]), 0);
    unsigned waiting, running;
    do
        ptl_loop_work_counts(loop, &waiting, &running);
    while (running == 0);
    assert_int_equal(ptl_loop_submit(loop, &w[1]), 0);
    assert_int_equal(ptl_loop_submit(loop, &w[2]), 0);
    assert_int_equal(ptl_loop_submit(loop, &w[3]), PTL_FULL);
    open_gate_when_closing(NULL);
    ptl_loop_free(loop); /* every done() has run; those not begun say so */
    assert_true(cancelled_count <= 2);
}

static int order[8], n_order;
static struct ptl_loop *the_loop;
static void late(void *ctx)
{
    order[n_order++] = (int)(intptr_t)ctx;
    if (n_order == 3)
        ptl_loop_stop(the_loop);
}
static void early(void *ctx)
{
    ptl_loop_defer(the_loop, late, (void *)(intptr_t)10);
    order[n_order++] = (int)(intptr_t)ctx;
}

static void deferred_runs_after_what_is_ready(void **state PTL_UNUSED)
{
    the_loop = ptl_loop_new(1, 1);
    struct ptl_timer *a = ptl_timer_new(the_loop, early, (void *)(intptr_t)1);
    struct ptl_timer *b = ptl_timer_new(the_loop, late, (void *)(intptr_t)2);
    ptl_timer_after(a, 0);
    ptl_timer_after(b, 0);
    ptl_loop_run(the_loop);
    assert_int_equal(order[0], 1);
    assert_int_equal(order[1], 2);
    assert_int_equal(order[2], 10);
    ptl_timer_free(a);
    ptl_timer_free(b);
    ptl_loop_free(the_loop);
}

static void what_is_taken_back_does_not_run(void **state PTL_UNUSED)
{
    static const int ctx[] = {1, 2, 3, 2};
    the_loop = ptl_loop_new(1, 1);
    n_order = 0;
    for (size_t i = 0; i < PTL_ARRAY_LEN(ctx); i++)
        ptl_loop_defer(the_loop, late, (void *)(intptr_t)ctx[i]);
    ptl_loop_undefer(the_loop, late, (void *)(intptr_t)2);
    ptl_loop_defer(the_loop, late, (void *)(intptr_t)4); /* the list's end is where it was cut */
    ptl_loop_run(the_loop);
    assert_int_equal(n_order, 3);
    assert_true(order[0] == 1 && order[1] == 3 && order[2] == 4);
    ptl_loop_free(the_loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(work_comes_back_once),
                                       cmocka_unit_test(queue_is_bounded_and_shutdown_answers),
                                       cmocka_unit_test(deferred_runs_after_what_is_ready),
                                       cmocka_unit_test(what_is_taken_back_does_not_run)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
