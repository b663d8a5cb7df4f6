/* Settings of the image viewer: it reads our own DICOMweb and nothing else. Served as /ohif/app-config.js. */
window.config = {
  routerBasename: "/ohif",
  extensions: [],
  modes: [],
  customizationService: [{ "ohif.tours": { $set: [] } }],
  showStudyList: false,
  maxNumberOfWebWorkers: 2,
  showCPUFallbackMessage: false,
  showWarningMessageForCrossOrigin: false,
  strictZSpacingForVolumeViewport: true,
  // A link to a segmentation or a report opens it over its images without a question.
  disableConfirmationPrompts: true,
  investigationalUseDialog: { option: "configure", days: 30 },
  defaultDataSourceName: "radmeter",
  dataSources: [
    {
      namespace: "@ohif/extension-default.dataSourcesModule.dicomweb",
      sourceName: "radmeter",
      configuration: {
        friendlyName: "radmeter",
        name: "radmeter",
        qidoRoot: "/dicom-web",
        wadoRoot: "/dicom-web",
        qidoSupportsIncludeField: true,
        supportsFuzzyMatching: false,
        supportsWildcard: true,
        imageRendering: "wadors",
        thumbnailRendering: "wadors",
        enableStudyLazyLoad: true,
        staticWado: false,
        singlepart: "bulkdata",
        bulkDataURI: { enabled: true },
      },
    },
  ],
};
