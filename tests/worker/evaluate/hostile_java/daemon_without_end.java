// expect: passed
// A daemon thread does not keep a machine alive: as for plain java, the answer is right.
class Problem {
    static long twice(long x) {
        Thread thread = new Thread(() -> {
            while (true) {
                Thread.onSpinWait();
            }
        });
        thread.setDaemon(true);
        thread.start();
        return 2 * x;
    }

    public static void main(String[] args) {
        assert (twice(21L) == 42L);
    }
}
