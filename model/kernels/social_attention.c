/* Social attention on processors: the operation of social_attention.py, fused into one pass per listener.

   Each listener's ties are read once: their keys are gathered into a buffer that stays in the nearest cache, scored,
   weighed and summed there, so that nothing of size ties × width is written in the forward pass. The caller cuts the
   listeners into blocks and calls from several threads; every sum is taken in an order that the graph alone fixes, so
   results have the same bits whatever the number of threads.

   Compiled per shape, with HEADS and WIDTH given; HALF stores expressions as bfloat16. Integer columns are int32 and
   uint8, offsets int64. compiled.py builds and calls this file. */

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#ifdef __linux__
#include <sys/mman.h>
#endif

#ifdef HALF
typedef uint16_t stored;
#else
typedef float stored;
#endif

#define HUB_TIES 4096 /* ties of one listener that are scored together; longer lists are cut by the caller */
#define AHEAD 48      /* ties between asking memory for an expression and using it */

/* Asks for large pages under memory that is about to be written for the first time: fewer faults, same numbers. */
void use_large_pages(void *start, int64_t num_bytes) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    uintptr_t first = ((uintptr_t)start + 4095) & ~(uintptr_t)4095;
    uintptr_t last = ((uintptr_t)start + (uintptr_t)num_bytes) & ~(uintptr_t)4095;
    if (last > first) madvise((void *)first, last - first, MADV_HUGEPAGE);
#endif
}

typedef struct {
    const float *restrict query;        /* listeners × HEADS × WIDTH */
    const stored *restrict expression;  /* speakers × WIDTH */
    const float *restrict gate;         /* types × WIDTH */
    const float *restrict bias;         /* HEADS × types */
    const float *restrict log_strength; /* ties */
    const int64_t *restrict offsets;    /* listeners + 1 */
    const int32_t *restrict src;        /* ties */
    const uint8_t *restrict type;       /* ties */
    int64_t num_ties;
    int64_t num_types;
} Inputs;

static inline float widen(stored value) {
#ifdef HALF
    uint32_t bits = (uint32_t)value << 16;
    float result;
    memcpy(&result, &bits, sizeof result);
    return result;
#else
    return value;
#endif
}

/* e^v for v ≤ 0 to 2e-7 relative: 2^n · 2^f with n the whole number nearest to v / ln 2, 2^f by its Taylor polynomial of
   degree 6 on ±1/2, n written into the exponent bits. In plain operations, so that the compiler fuses loops of it. */
static inline float exponential(float v) {
    float power = v * 1.4426950408889634f;
    power = power < -126.0f ? -126.0f : power;
    int32_t whole = (int32_t)(power - 0.5f);
    float f = power - (float)whole;
    float r = 1.540353039338161e-4f;
    r = r * f + 1.3333558146428443e-3f;
    r = r * f + 9.618129107628477e-3f;
    r = r * f + 5.550410866482158e-2f;
    r = r * f + 2.402265069591007e-1f;
    r = r * f + 6.931471805599453e-1f;
    r = r * f + 1.0f;
    int32_t bits = (whole + 127) << 23;
    float scale;
    memcpy(&scale, &bits, sizeof scale);
    return r * scale;
}

/* A macro, since gcc takes a function that only prefetches for one without effect and drops its calls. */
#define ASK_AHEAD(in, tie) \
    if ((tie) + AHEAD < (in)->num_ties) \
    __builtin_prefetch((in)->expression + (int64_t)(in)->src[(tie) + AHEAD] * WIDTH)

/* Keys and scores of ties first … last; scores lie tie by tie, heads together. */
static void score(const Inputs *in, const float *restrict query, int64_t first, int64_t last, float *restrict key,
                  float *restrict scores) {
    for (int64_t tie = first; tie < last; tie++) {
        ASK_AHEAD(in, tie);
        const stored *restrict row = in->expression + (int64_t)in->src[tie] * WIDTH;
        const float *restrict gate = in->gate + (int64_t)in->type[tie] * WIDTH;
        float values[WIDTH];
        for (int x = 0; x < WIDTH; x++) values[x] = widen(row[x]) * gate[x];
        float *restrict kept = key + (tie - first) * WIDTH;
        for (int x = 0; x < WIDTH; x++) kept[x] = values[x];
        for (int h = 0; h < HEADS; h++) {
            float total = 0.0f;
            for (int x = 0; x < WIDTH; x++) total += query[h * WIDTH + x] * values[x];
            scores[(tie - first) * HEADS + h] =
                total + in->bias[h * in->num_types + in->type[tie]] + in->log_strength[tie];
        }
    }
}

/* The highest score per head, the sum of exponentials over it, and the sum of keys weighted by them. */
static void weigh(const float *restrict key, float *restrict scores, int64_t num_ties, float *restrict highest,
                  float *restrict total, float *restrict heard) {
    float top[HEADS], sum[HEADS], acc[HEADS * WIDTH];
    for (int h = 0; h < HEADS; h++) top[h] = scores[h], sum[h] = 0.0f;
    for (int64_t d = 1; d < num_ties; d++)
        for (int h = 0; h < HEADS; h++) top[h] = scores[d * HEADS + h] > top[h] ? scores[d * HEADS + h] : top[h];
    for (int64_t d = 0; d < num_ties; d++)
        for (int h = 0; h < HEADS; h++) scores[d * HEADS + h] = exponential(scores[d * HEADS + h] - top[h]);
    for (int i = 0; i < HEADS * WIDTH; i++) acc[i] = 0.0f;
    for (int64_t d = 0; d < num_ties; d++)
        for (int h = 0; h < HEADS; h++) {
            float weight = scores[d * HEADS + h];
            sum[h] += weight;
            for (int x = 0; x < WIDTH; x++) acc[h * WIDTH + x] += weight * key[d * WIDTH + x];
        }
    for (int h = 0; h < HEADS; h++) highest[h] = top[h], total[h] = sum[h];
    for (int i = 0; i < HEADS * WIDTH; i++) heard[i] = acc[i];
}

/* Listeners begin … end that have at most HUB_TIES in-ties; the others are left alone. Returns 0, or 1 out of memory. */
int hear(const Inputs *in, int64_t begin, int64_t end, float *restrict heard, float *restrict denominator) {
    float *key = malloc(sizeof(float) * HUB_TIES * (WIDTH + HEADS));
    if (!key) return 1;
    float *scores = key + HUB_TIES * WIDTH;
    for (int64_t agent = begin; agent < end; agent++) {
        int64_t first = in->offsets[agent], last = in->offsets[agent + 1];
        float *out = heard + agent * HEADS * WIDTH;
        if (last - first > HUB_TIES) continue;
        if (last == first) {
            memset(out, 0, sizeof(float) * HEADS * WIDTH);
            memset(denominator + agent * HEADS, 0, sizeof(float) * HEADS);
            continue;
        }
        float highest[HEADS], total[HEADS], sum[HEADS * WIDTH];
        score(in, in->query + agent * HEADS * WIDTH, first, last, key, scores);
        weigh(key, scores, last - first, highest, total, sum);
        for (int h = 0; h < HEADS; h++) {
            float share = 1.0f / total[h];
            denominator[agent * HEADS + h] = highest[h] + logf(total[h]);
            for (int x = 0; x < WIDTH; x++) out[h * WIDTH + x] = sum[h * WIDTH + x] * share;
        }
    }
    free(key);
    return 0;
}

/* Ties first … last of one listener: highest score, sum of exponentials and weighted sum, to be combined by the caller. */
int hear_part(const Inputs *in, int64_t agent, int64_t first, int64_t last, float *restrict highest,
              float *restrict total, float *restrict heard) {
    float *key = malloc(sizeof(float) * HUB_TIES * (WIDTH + HEADS));
    if (!key) return 1;
    score(in, in->query + agent * HEADS * WIDTH, first, last, key, key + HUB_TIES * WIDTH);
    weigh(key, key + HUB_TIES * WIDTH, last - first, highest, total, heard);
    free(key);
    return 0;
}

typedef struct {
    const float *restrict heard;       /* gradient of what was heard, listeners × HEADS × WIDTH */
    const float *restrict denominator; /* as the forward pass left it, listeners × HEADS */
    float *restrict key;               /* out: ties from `first` on × WIDTH, with respect to the speaker's expression */
    float *restrict log_strength;      /* out: ties */
    int64_t first;                     /* the tie whose row is the first of `key` */
} Gradients;

/* Weights of ties first … last, their gradients, and per head the sum of both multiplied. */
static void redo(const Inputs *in, const Gradients *grad, int64_t agent, int64_t first, int64_t last,
                 float *restrict weights, float *restrict changes, float *restrict means) {
    const float *restrict query = in->query + agent * HEADS * WIDTH;
    const float *restrict wanted = grad->heard + agent * HEADS * WIDTH;
    const float *restrict denominator = grad->denominator + agent * HEADS;
    float sum[HEADS];
    for (int h = 0; h < HEADS; h++) sum[h] = 0.0f;
    for (int64_t tie = first; tie < last; tie++) {
        ASK_AHEAD(in, tie);
        const stored *restrict row = in->expression + (int64_t)in->src[tie] * WIDTH;
        const float *restrict gate = in->gate + (int64_t)in->type[tie] * WIDTH;
        float values[WIDTH];
        for (int x = 0; x < WIDTH; x++) values[x] = widen(row[x]) * gate[x];
        for (int h = 0; h < HEADS; h++) {
            float total = 0.0f, change = 0.0f;
            for (int x = 0; x < WIDTH; x++) {
                total += query[h * WIDTH + x] * values[x];
                change += wanted[h * WIDTH + x] * values[x];
            }
            weights[(tie - first) * HEADS + h] = total + in->bias[h * in->num_types + in->type[tie]] +
                                                 in->log_strength[tie] - denominator[h];
            changes[(tie - first) * HEADS + h] = change;
        }
    }
    for (int64_t d = 0; d < last - first; d++)
        for (int h = 0; h < HEADS; h++) {
            float weight = exponential(weights[d * HEADS + h]);
            weights[d * HEADS + h] = weight;
            sum[h] += weight * changes[d * HEADS + h];
        }
    for (int h = 0; h < HEADS; h++) means[h] = sum[h];
}

/* Gradients of ties first … last; those of query, gate and bias are added to what lies there. */
static void spread(const Inputs *in, const Gradients *grad, int64_t agent, int64_t first, int64_t last,
                   const float *restrict weights, const float *restrict changes, const float *restrict means,
                   float *restrict grad_query, float *restrict grad_gate, float *restrict grad_bias) {
    const float *restrict query = in->query + agent * HEADS * WIDTH;
    const float *restrict wanted = grad->heard + agent * HEADS * WIDTH;
    float to_query[HEADS * WIDTH];
    for (int i = 0; i < HEADS * WIDTH; i++) to_query[i] = grad_query[i];
    for (int64_t tie = first; tie < last; tie++) {
        int kind = in->type[tie];
        const stored *restrict row = in->expression + (int64_t)in->src[tie] * WIDTH;
        const float *restrict gate = in->gate + (int64_t)kind * WIDTH;
        float values[WIDTH], gated[WIDTH], to_key[WIDTH], strength = 0.0f;
        for (int x = 0; x < WIDTH; x++) values[x] = widen(row[x]), to_key[x] = 0.0f;
        for (int x = 0; x < WIDTH; x++) gated[x] = values[x] * gate[x];
        for (int h = 0; h < HEADS; h++) {
            float weight = weights[(tie - first) * HEADS + h];
            float slope = weight * (changes[(tie - first) * HEADS + h] - means[h]);
            strength += slope;
            grad_bias[h * in->num_types + kind] += slope;
            for (int x = 0; x < WIDTH; x++) {
                to_query[h * WIDTH + x] += slope * gated[x];
                to_key[x] += weight * wanted[h * WIDTH + x] + slope * query[h * WIDTH + x];
            }
        }
        grad->log_strength[tie] = strength;
        float *restrict to_gate = grad_gate + (int64_t)kind * WIDTH;
        for (int x = 0; x < WIDTH; x++) to_gate[x] += to_key[x] * values[x];
        float *restrict kept = grad->key + (tie - grad->first) * WIDTH;
        for (int x = 0; x < WIDTH; x++) kept[x] = to_key[x] * gate[x];
    }
    for (int i = 0; i < HEADS * WIDTH; i++) grad_query[i] = to_query[i];
}

/* Backward pass of listeners begin … end with at most HUB_TIES in-ties; query's gradient is set, gate's and bias's grow. */
int answer(const Inputs *in, const Gradients *grad, int64_t begin, int64_t end, float *restrict grad_query,
           float *restrict grad_gate, float *restrict grad_bias) {
    float *weights = malloc(sizeof(float) * 2 * HUB_TIES * HEADS);
    if (!weights) return 1;
    float *changes = weights + HUB_TIES * HEADS, means[HEADS];
    for (int64_t agent = begin; agent < end; agent++) {
        int64_t first = in->offsets[agent], last = in->offsets[agent + 1];
        if (last - first > HUB_TIES) continue;
        float *to_query = grad_query + agent * HEADS * WIDTH;
        memset(to_query, 0, sizeof(float) * HEADS * WIDTH);
        redo(in, grad, agent, first, last, weights, changes, means);
        spread(in, grad, agent, first, last, weights, changes, means, to_query, grad_gate, grad_bias);
    }
    free(weights);
    return 0;
}

/* First half of the backward pass of a part of one listener's ties: its share of the means. */
int answer_means(const Inputs *in, const Gradients *grad, int64_t agent, int64_t first, int64_t last,
                 float *restrict means) {
    float *weights = malloc(sizeof(float) * 2 * HUB_TIES * HEADS);
    if (!weights) return 1;
    redo(in, grad, agent, first, last, weights, weights + HUB_TIES * HEADS, means);
    free(weights);
    return 0;
}

/* Second half, given the means over all parts; gradients of query, gate and bias grow. */
int answer_part(const Inputs *in, const Gradients *grad, int64_t agent, int64_t first, int64_t last,
                const float *restrict means, float *restrict grad_query, float *restrict grad_gate,
                float *restrict grad_bias) {
    float *weights = malloc(sizeof(float) * 2 * HUB_TIES * HEADS);
    if (!weights) return 1;
    float *changes = weights + HUB_TIES * HEADS, again[HEADS];
    redo(in, grad, agent, first, last, weights, changes, again);
    spread(in, grad, agent, first, last, weights, changes, means, grad_query, grad_gate, grad_bias);
    free(weights);
    return 0;
}

/* Adds the gradients of ties first … last to those of their speakers, of speakers from … to alone, in the order of the
   ties. Returns 0, or 1 out of memory. */
int add_by_speaker(const Inputs *in, const Gradients *grad, int64_t first, int64_t last, int32_t from, int32_t to,
                   float *restrict grad_expression) {
    int32_t *mine = malloc(sizeof(int32_t) * (size_t)(last - first + AHEAD));
    if (!mine) return 1;
    int64_t num_mine = 0;
    for (int64_t tie = first; tie < last; tie++) {
        int32_t speaker = in->src[tie];
        mine[num_mine] = (int32_t)(tie - first);
        num_mine += (speaker >= from) & (speaker < to);
    }
    const int32_t *restrict src = in->src + first;
    for (int64_t place = 0; place < num_mine; place++) {
        if (place + AHEAD < num_mine)
            __builtin_prefetch(grad_expression + (int64_t)src[mine[place + AHEAD]] * WIDTH, 1);
        float *restrict sum = grad_expression + (int64_t)src[mine[place]] * WIDTH;
        const float *restrict row = grad->key + (first - grad->first + mine[place]) * WIDTH;
        for (int x = 0; x < WIDTH; x++) sum[x] += row[x];
    }
    free(mine);
    return 0;
}

/* Adds the gradients of one speaker's ties in double precision: those of `places` up to `last`, from place *next on. */
int add_of_speaker(const Gradients *grad, const int32_t *restrict places, int64_t num_places, int64_t last,
                   int64_t *restrict next, double *restrict sum) {
    int64_t place = *next;
    for (; place < num_places && places[place] < last; place++) {
        const float *restrict row = grad->key + (places[place] - grad->first) * WIDTH;
        for (int x = 0; x < WIDTH; x++) sum[x] += row[x];
    }
    *next = place;
    return 0;
}
