// expect: timed_out
// The answer is right, but a program with such a thread never ends.
class Problem {
    static long twice(long x) {
        new Thread(() -> {
            while (true) {
                Thread.onSpinWait();
            }
        }).start();
        return 2 * x;
    }

    public static void main(String[] args) {
        assert (twice(21L) == 42L);
    }
}
