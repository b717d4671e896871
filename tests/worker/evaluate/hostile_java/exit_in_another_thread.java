// expect: failed
// The tests never see the exit.
class Problem {
    static long twice(long x) {
        new Thread(() -> System.exit(0)).start();
        while (true) {
            Thread.onSpinWait();
        }
    }

    public static void main(String[] args) {
        assert (twice(21L) == 42L);
    }
}
