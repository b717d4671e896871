// expect: sandbox_violation
// A class defined at run time, which nobody has read before. Evil.run() is `System.setSecurityManager(null)`.
import java.lang.invoke.MethodHandles;
import java.util.Base64;

class Problem {
    static long twice(long x) {
        String evil =
                "yv66vgAAADcAEwoAAgADBwAEDAAFAAYBABBqYXZhL2xhbmcvT2JqZWN0AQAGPGluaXQ+AQADKClWCgAIAAkHAAoMAA" +
                        "sADAEAEGphdmEvbGFuZy9TeXN0ZW0BABJzZXRTZWN1cml0eU1hbmFnZXIBAB4oTGphdmEvbGFuZy9TZWN1cml0eU1h" +
                        "bmFnZXI7KVYHAA4BAARFdmlsBwAQAQASamF2YS9sYW5nL1J1bm5hYmxlAQAEQ29kZQEAA3J1bgAhAA0AAgABAA8AAA" +
                        "ACAAEABQAGAAEAEQAAABEAAQABAAAABSq3AAGxAAAAAAABABIABgABABEAAAARAAEAAQAAAAUBuAAHsQAAAAAAAA==";
        try {
            Class<?> type = MethodHandles.lookup().defineClass(Base64.getDecoder().decode(evil));
            ((Runnable) type.getDeclaredConstructor().newInstance()).run();
        } catch (ReflectiveOperationException error) {
            throw new IllegalStateException(error);
        }
        return 0;
    }

    public static void main(String[] args) {
        assert (twice(21L) == 42L);
    }
}
