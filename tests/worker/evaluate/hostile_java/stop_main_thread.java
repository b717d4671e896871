// expect: failed
// Ends the thread that would say the verdict.
class Problem {
    static long twice(long x) {
        Thread main = Thread.currentThread();
        Thread killer = new Thread(() -> main.stop());
        killer.start();
        while (true) {
            Thread.onSpinWait();
        }
    }

    public static void main(String[] args) {
        assert (twice(21L) == 42L);
    }
}
