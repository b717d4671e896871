// expect: out_of_memory
// Java's word for no more threads is OutOfMemoryError.
class Problem {
    static long twice(long x) {
        while (true) {
            Thread thread = new Thread(() -> {
                try {
                    Thread.sleep(100000);
                } catch (InterruptedException done) {
                    return;
                }
            });
            thread.setDaemon(true);
            thread.start();
        }
    }

    public static void main(String[] args) {
        assert (twice(21L) == 42L);
    }
}
