// imagekit-javascript 2 to 4: the app hands over the three values.
import ImageKit from "imagekit-javascript";
import {client, done, fileInput, refused, threeValues} from "./page.js";

client((settings, place) => {
  const imagekit = new ImageKit({publicKey: settings.publicKey, urlEndpoint: settings.urlEndpoint});
  fileInput(place, async (file) => {
    try {
      const values = await threeValues(settings);
      imagekit.upload({file, fileName: settings.fileName, tags: ["summer", "dress"], ...values}, done);
    } catch (error) {
      refused(error);
    }
  });
});
