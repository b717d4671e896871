// expect: timed_out
// Whoever describes the error waits for ever.
class Problem {
    static long twice(long x) {
        throw new RuntimeException() {
            @Override
            public String getMessage() {
                while (true) {
                    Thread.onSpinWait();
                }
            }
        };
    }

    public static void main(String[] args) {
        assert (twice(21L) == 42L);
    }
}
